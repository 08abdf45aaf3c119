package acl

// ruleItem is keys with a value.
type ruleItem struct {
	keys  []ruleToken // at least one
	value ruleValue
}

// ruleValue is a literal, an object or a list.
type ruleValue struct {
	ruleToken
	items []ruleItem  // of an object
	list  []ruleValue // of a list
}

// ruleParser makes items of tokens. After an error it sees only the end.
type ruleParser struct {
	lexer *ruleLexer
	token ruleToken // that comes next
	depth int
	err   error
}

func (p *ruleParser) next() {
	if p.err == nil {
		p.token, p.err = p.lexer.token()
	}
	if p.err != nil {
		p.token = ruleToken{line: p.token.line}
	}
}

func (p *ruleParser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = errAtLine(p.token.line, format, args...)
	}
	p.next()
}

// items reads items up to a mark.
func (p *ruleParser) items(end string) (items []ruleItem) {
	for p.token.kind != end && p.err == nil {
		items = append(items, p.item())
		if p.token.kind == "," {
			p.next()
		} else if p.lexer.isJSON && p.token.kind != end {
			p.fail("want , or }, not %s", p.token)
		}
	}
	p.next()
	return items
}

func (p *ruleParser) item() (item ruleItem) {
	for p.token.kind == tokenString && !(p.lexer.isJSON && len(item.keys) == 1) || p.token.kind == tokenWord && !p.lexer.isJSON {
		item.keys = append(item.keys, p.token)
		p.next()
	}
	assign := "="
	if p.lexer.isJSON {
		assign = ":"
	}
	switch {
	case len(item.keys) == 0:
		p.fail("want a word, not %s", p.token)
	case p.token.kind == assign && len(item.keys) == 1:
		p.next()
		item.value = p.value()
	case p.token.kind == tokenObject && !p.lexer.isJSON:
		item.value = p.value()
	default:
		p.fail("%s: want { or %s, not %s", item.keys[len(item.keys)-1], assign, p.token)
	}
	return item
}

func (p *ruleParser) value() ruleValue {
	const deepest = 20
	v := ruleValue{ruleToken: p.token}
	if p.depth++; p.depth > deepest {
		p.fail("more than %d blocks in each other", deepest)
	}
	defer func() { p.depth-- }()
	switch p.token.kind {
	case tokenString, tokenOther:
		p.next()
	case tokenObject:
		p.next()
		v.items = p.items("}")
	case tokenList:
		p.next()
		for p.token.kind != "]" && p.err == nil {
			v.list = append(v.list, p.value())
			if p.token.kind == "," {
				p.next()
			} else if p.token.kind != "]" {
				p.fail("want , or ], not %s", p.token)
			}
		}
		p.next()
	default:
		p.fail("want a value in quotes, not %s", p.token)
	}
	return v
}
