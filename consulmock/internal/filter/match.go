package filter

import "strconv"

// This file has the rules of the grammar for what stands between and, or, not
// and parentheses.

func (p *parser) match() (any, bool) {
	return p.rule("match", `"match"`, func() (any, bool) {
		return p.first(p.selectorOpValue, p.selectorOp, p.valueOpSelector)
	})
}

func (p *parser) selectorOpValue() (any, bool) {
	return p.rule("selectorOpValue", `"match"`, func() (any, bool) {
		selector, ok := p.selector()
		if !ok {
			return nil, false
		}
		op, ok := p.operator(
			operator{rule: "MatchEqual", op: opEqual, words: []string{"=="}, tight: true},
			operator{rule: "MatchNotEqual", op: opNotEqual, words: []string{"!="}, tight: true},
			operator{rule: "MatchContains", op: opIn, words: []string{"contains"}, value: true},
			operator{rule: "MatchNotContains", op: opNotIn, words: []string{"not", "contains"}, value: true},
			operator{rule: "MatchMatches", op: opMatches, words: []string{"matches"}, value: true},
			operator{rule: "MatchNotMatches", op: opNotMatches, words: []string{"not", "matches"}, value: true},
		)
		if !ok {
			return nil, false
		}
		value, ok := p.value()
		if !ok {
			return nil, false
		}
		return matchNode(selector, op, value), true
	})
}

func (p *parser) selectorOp() (any, bool) {
	return p.rule("selectorOp", `"match"`, func() (any, bool) {
		selector, ok := p.selector()
		if !ok {
			return nil, false
		}
		op, ok := p.operator(
			operator{rule: "MatchIsEmpty", op: opIsEmpty, words: []string{"is", "empty"}},
			operator{rule: "MatchIsNotEmpty", op: opIsNotEmpty, words: []string{"is", "not", "empty"}},
		)
		if !ok {
			return nil, false
		}
		return matchNode(selector, op, ""), true
	})
}

func (p *parser) valueOpSelector() (any, bool) {
	in := func() (any, bool) {
		return p.operator(
			operator{rule: "MatchIn", op: opIn, words: []string{"in"}, value: true},
			operator{rule: "MatchNotIn", op: opNotIn, words: []string{"not", "in"}, value: true},
		)
	}
	return p.rule("valueOpSelector", `"match"`, func() (any, bool) {
		return p.first(
			func() (any, bool) {
				value, ok := p.value()
				if !ok {
					return nil, false
				}
				op, ok := in()
				if !ok {
					return nil, false
				}
				selector, ok := p.selector()
				if !ok {
					return nil, false
				}
				return matchNode(selector, op, value), true
			},
			func() (any, bool) {
				if _, ok := p.value(); !ok {
					return nil, false
				}
				if _, ok := in(); !ok {
					return nil, false
				}
				if !p.not(func() bool { _, ok := p.selector(); return ok }) {
					return nil, false
				}
				return p.complain("Invalid selector")
			},
		)
	})
}

func matchNode(selector, op, value any) *node {
	return &node{match: &match{selector: selector.([]string), op: op.(operation), raw: value.(string)}}
}

// operator is an operator of one or more words with blanks before each.
type operator struct {
	rule  string
	op    operation
	words []string
	tight bool // the blanks around it are optional
	value bool // a blank and a value have to follow
}

func (p *parser) operator(list ...operator) (any, bool) {
	for _, o := range list {
		v, ok := p.rule(o.rule, o.rule, func() (any, bool) {
			for _, word := range o.words {
				if !p.space() && !o.tight || !p.literal(word) {
					return nil, false
				}
			}
			if o.value || o.tight {
				if !p.space() && o.value {
					return nil, false
				}
			}
			return o.op, true
		})
		if ok {
			return v, true
		}
	}
	return nil, false
}

func (p *parser) selector() (any, bool) {
	return p.rule("selector", `"selector"`, func() (any, bool) {
		name, ok := p.identifier()
		if !ok {
			return nil, false
		}
		selector := []string{name.(string)}
		for {
			name, ok := p.selectorPart()
			if !ok {
				return selector, true
			}
			selector = append(selector, name.(string))
		}
	})
}

func (p *parser) selectorPart() (any, bool) {
	return p.rule("selectorPart", "SelectorOrIndex", func() (any, bool) {
		return p.first(
			func() (any, bool) {
				if !p.literal(".") {
					return nil, false
				}
				return p.identifier()
			},
			p.index,
		)
	})
}

func (p *parser) identifier() (any, bool) {
	return p.rule("identifier", "Identifier", func() (any, bool) {
		start := p.off
		if !p.class("[a-zA-Z]", isLetter) {
			return nil, false
		}
		for p.class("[a-zA-Z0-9_]", func(r rune) bool { return isLetter(r) || isDigit(r) || r == '_' }) {
		}
		return p.src[start:p.off], true
	})
}

// index is the name in brackets of a field whose name is not an identifier.
func (p *parser) index() (any, bool) {
	isString := func() bool { _, ok := p.stringLiteral(); return ok }
	return p.rule("index", `"index"`, func() (any, bool) {
		return p.first(
			func() (any, bool) {
				if !p.literal("[") || !p.optSpace() {
					return nil, false
				}
				name, ok := p.stringLiteral()
				return name, ok && p.optSpace() && p.literal("]")
			},
			func() (any, bool) {
				if !p.literal("[") || !p.optSpace() || !p.not(isString) {
					return nil, false
				}
				return p.complain("Invalid index")
			},
			func() (any, bool) {
				if !p.literal("[") || !p.optSpace() || !isString() || !p.optSpace() || !p.not(func() bool { return p.literal("]") }) {
					return nil, false
				}
				return p.complain("Unclosed index expression")
			},
		)
	})
}

// value is a selector, which stands for its own text, a number, or a string.
func (p *parser) value() (any, bool) {
	return p.rule("value", `"value"`, func() (any, bool) {
		return p.first(
			func() (any, bool) {
				selector, ok := p.selector()
				if !ok {
					return nil, false
				}
				text := ""
				for i, name := range selector.([]string) {
					if i > 0 {
						text += "."
					}
					text += name
				}
				return text, true
			},
			p.number,
			p.stringLiteral,
		)
	})
}

func (p *parser) number() (any, bool) {
	digits := func() (any, bool) {
		if p.literal("-"); !p.integerOrFloat() {
			return nil, false
		}
		return nil, true
	}
	return p.rule("number", `"number"`, func() (any, bool) {
		start := p.off
		return p.first(
			func() (any, bool) {
				if _, ok := digits(); !ok {
					return nil, false
				}
				return p.src[start:p.off], p.afterNumber()
			},
			func() (any, bool) {
				if _, ok := digits(); !ok || !p.not(p.afterNumber) {
					return nil, false
				}
				return p.complain("Invalid number literal")
			},
		)
	})
}

// afterNumber looks for what has to follow a number.
func (p *parser) afterNumber() bool {
	_, ok := p.rule("afterNumber", "AfterNumbers", func() (any, bool) {
		start := p.off
		ok := p.space() || p.atEnd() || p.literal(")")
		p.off = start
		return nil, ok
	})
	return ok
}

func (p *parser) integerOrFloat() bool {
	_, ok := p.rule("integerOrFloat", "IntegerOrFloat", func() (any, bool) {
		if !p.literal("0") {
			if !p.class("[1-9]", func(r rune) bool { return '1' <= r && r <= '9' }) {
				return nil, false
			}
			for p.class("[0-9]", isDigit) {
			}
		}
		p.try(func() (any, bool) {
			if !p.literal(".") || !p.class("[0-9]", isDigit) {
				return nil, false
			}
			for p.class("[0-9]", isDigit) {
			}
			return nil, true
		})
		return nil, true
	})
	return ok
}

// stringLiteral is a string in quotes or backquotes. A quote cannot stand in a
// string, not even with a backslash.
func (p *parser) stringLiteral() (any, bool) {
	open := func(quote string) bool {
		if !p.literal(quote) {
			return false
		}
		for p.stringChar(quote) {
		}
		return true
	}
	return p.rule("string", `"string"`, func() (any, bool) {
		start := p.off
		return p.first(
			func() (any, bool) {
				_, ok := p.first(
					func() (any, bool) { return nil, open("`") && p.literal("`") },
					func() (any, bool) { return nil, open(`"`) && p.literal(`"`) },
				)
				if !ok {
					return nil, false
				}
				s, err := strconv.Unquote(p.src[start:p.off])
				if err != nil {
					p.addError(start, err.Error())
				}
				return s, true
			},
			func() (any, bool) {
				_, ok := p.first(
					func() (any, bool) { return nil, open("`") },
					func() (any, bool) { return nil, open(`"`) },
				)
				if !ok || !p.atEnd() {
					return nil, false
				}
				return p.complain("Unterminated string literal")
			},
		)
	})
}

func (p *parser) stringChar(quote string) bool {
	name := "RawStringChar"
	if quote == `"` {
		name = "DoubleStringChar"
	}
	_, ok := p.rule(name, name, func() (any, bool) {
		return nil, p.not(func() bool { return p.literal(quote) }) && p.any()
	})
	return ok
}
