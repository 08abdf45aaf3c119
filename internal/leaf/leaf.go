// Package leaf changes single fields of a value, however deep, so that a test can check
// that each one counts.
package leaf

import "reflect"

// leaves calls visit for every leaf of v that can be set, with its path. Nil
// pointers, slices and maps on the way are given one element.
func leaves(v reflect.Value, path string, visit func(path string, leaf reflect.Value)) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		leaves(v.Elem(), path, visit)
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				leaves(v.Field(i), path+"."+f.Name, visit)
			}
		}
	case reflect.Slice:
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		leaves(v.Index(0), path+"[0]", visit)
	case reflect.Map:
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		elem := reflect.New(v.Type().Elem()).Elem()
		leaves(elem, path+"[k]", func(path string, leaf reflect.Value) {
			visit(path, leaf)
			v.SetMapIndex(reflect.ValueOf("k"), elem)
		})
		v.SetMapIndex(reflect.ValueOf("k"), elem)
	default:
		visit(path, v)
	}
}

// alter sets a leaf to something else.
func alter(leaf reflect.Value) {
	switch leaf.Kind() {
	case reflect.String:
		leaf.SetString(leaf.String() + "x")
	case reflect.Bool:
		leaf.SetBool(!leaf.Bool())
	case reflect.Int, reflect.Int64:
		leaf.SetInt(leaf.Int() + 1)
	case reflect.Uint8, reflect.Uint64:
		leaf.SetUint(leaf.Uint() + 1)
	default:
		panic("cannot change a " + leaf.Kind().String())
	}
}

// Change changes one leaf of v and returns its path, or an empty string if
// there are not so many.
func Change(v reflect.Value, k int) (changed string) {
	i := 0
	leaves(v, v.Type().String(), func(path string, leaf reflect.Value) {
		if i == k {
			alter(leaf)
			changed = path
		}
		i++
	})
	return changed
}
