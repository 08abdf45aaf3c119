// Command none is what a program costs that asks with net/http and encoding/json.
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
)

func main() {
	resp, err := http.Get("http://127.0.0.1:8500/v1/health/service/web")
	if err != nil {
		panic(err)
	}
	defer resp.Body.Close()
	var entries []any
	fmt.Println(json.NewDecoder(resp.Body).Decode(&entries), entries)
}
