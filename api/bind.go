package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"

	"flint"
)

// Param describes one parameter of a route.
type Param struct {
	Name     string
	In       string // path, query or body
	Type     string // string, integer, boolean, array, object or file
	Required bool
	Nullable bool // absent means: leave it as it is
	Default  string
	MaxItems int
	Doc      string
	Rule     Rule
}

// field is a parameter with its place in the input.
type field struct {
	Param
	index []int
	zero  reflect.Value // the default
}

// compile reads the tags of a route's input, once.
func compile(r *Route) []field {
	var fields []field
	for _, f := range reflect.VisibleFields(r.Handler.in) {
		tag, ok := f.Tag.Lookup("param")
		if !ok {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		p := Param{
			Name: name, In: "body", Required: options == "required", Nullable: f.Type.Kind() == reflect.Pointer,
			Default: f.Tag.Get("default"), Doc: f.Tag.Get("doc"), Rule: parseRule(f.Tag.Get("rule"), r.Rules),
		}
		if most := f.Tag.Get("max"); most != "" {
			p.MaxItems = number([]string{most}, 0)
		}
		switch {
		case slices.Contains(strings.Split(r.Path, "/"), "{"+name+"}"):
			p.In, p.Required = "path", true
		case r.Method == http.MethodGet:
			p.In = "query"
		}
		p.Type = typeName(f.Type)
		fields = append(fields, field{Param: p, index: f.Index, zero: defaultOf(f.Type, p.Default)})
	}
	return fields
}

func typeName(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[Object]():
		return "object"
	case t.Kind() == reflect.String:
		return "string"
	case t.Kind() == reflect.Int:
		return "integer"
	case t.Kind() == reflect.Bool:
		return "boolean"
	case t == reflect.TypeFor[[]string]():
		return "array"
	}
	panic("api: no parameter can be a " + t.String())
}

func defaultOf(t reflect.Type, text string) reflect.Value {
	v := reflect.New(t).Elem()
	if text == "" {
		return v
	}
	var err error
	switch v.Kind() { // the other kinds have no default
	case reflect.String:
		v.SetString(text)
	case reflect.Int:
		var n int64
		n, err = strconv.ParseInt(text, 10, 0)
		v.SetInt(n)
	case reflect.Bool:
		var b bool
		b, err = strconv.ParseBool(text)
		v.SetBool(b)
	default:
		err = fmt.Errorf("a %s has no default", t)
	}
	if err != nil {
		panic("api: default " + strconv.Quote(text) + ": " + err.Error())
	}
	return v
}

// bindBase sets what does not need the body: the request itself and the parameters of the path.
func (x *exchange) bindBase(in any) error {
	if base, ok := in.(interface{ request() *Request }); ok {
		*base.request() = x.request()
	}
	v := reflect.ValueOf(in).Elem()
	route := chi.RouteContext(x.r.Context())
	for i := range x.route.fields {
		f := &x.route.fields[i]
		if text := route.URLParam(f.Name); text != "" {
			if clean, err := url.PathUnescape(text); err == nil && x.r.URL.RawPath != "" {
				text = clean
			}
			if err := f.set(v, &param{text: text}); err != nil {
				return err
			}
		}
	}
	return nil
}

// bind sets the parameters that are not in the path, in their order.
func (x *exchange) bind(in any, p Params) error {
	v := reflect.ValueOf(in).Elem()
	if old, ok := in.(Older); ok && x.format.Stated() {
		old.Older(x.format, p)
	}
	route := chi.RouteContext(x.r.Context())
	for i := range x.route.fields {
		f := &x.route.fields[i]
		if route.URLParam(f.Name) != "" {
			continue
		}
		if !p.has(f.Name) {
			if f.Required {
				return flint.ErrInvalidArgument.Saying(`Param "%s" is not optional.`, f.Name)
			}
			v.FieldByIndex(f.index).Set(f.zero)
			continue
		}
		if err := f.set(v, p[f.Name]); err != nil {
			return err
		}
	}
	return nil
}

// Invalid is the error of a parameter whose value is not valid.
func Invalid(name, why string) error {
	return flint.ErrInvalidArgument.Saying("Invalid `%s` param: %s", name, why)
}

func (f *field) set(in reflect.Value, p *param) error {
	dst := in.FieldByIndex(f.index)
	if dst.Kind() == reflect.Pointer {
		dst.Set(reflect.New(dst.Type().Elem()))
		dst = dst.Elem()
	}
	var why string
	switch f.Type {
	case "string":
		why = f.setText(dst, p)
	case "integer":
		why = f.setInt(dst, p)
	case "boolean":
		why = f.setBool(dst, p)
	case "array":
		why = f.setList(dst, p)
	case "object":
		why = f.setObject(dst, p)
	}
	if why != "" {
		return Invalid(f.Name, why)
	}
	return nil
}

func (f *field) setText(dst reflect.Value, p *param) string {
	text, ok := p.asText()
	if !ok && f.Rule.Scalar && p.raw != nil && p.raw[0] != '"' {
		text, ok = string(p.raw), true
	}
	if !ok {
		return cmp.Or(f.Rule.Message, "Value must be a valid string")
	}
	if f.Rule.Text != nil {
		if why := f.Rule.Text(text); why != "" {
			return why
		}
	}
	dst.SetString(text)
	return ""
}

func (p *param) asText() (string, bool) {
	switch {
	case p.list:
		return "", false
	case p.raw == nil:
		return p.text, true
	}
	if p.raw[0] != '"' {
		return "", false
	}
	if plain := p.raw[1 : len(p.raw)-1]; bytes.IndexByte(plain, '\\') < 0 && utf8.Valid(plain) {
		return string(plain), true // most texts, and those of megabytes, hold nothing to decode
	}
	var s string
	err := json.Unmarshal(p.raw, &s)
	return s, err == nil
}

// scalar returns a number, a word or a text as its characters.
func (p *param) scalar() string {
	if text, ok := p.asText(); ok {
		return text
	}
	return string(p.raw)
}

func (f *field) setInt(dst reflect.Value, p *param) string {
	n, err := strconv.Atoi(p.scalar())
	if low, high := f.Rule.Min, f.Rule.Max; low != nil && (err != nil || n < *low || n > *high) {
		return fmt.Sprintf("Value must be a valid range between %d and %d", *low, *high)
	}
	if err != nil {
		return "Value must be a valid integer"
	}
	dst.SetInt(int64(n))
	return ""
}

func (f *field) setBool(dst reflect.Value, p *param) string {
	switch text := p.scalar(); {
	case !f.Rule.Loose && (p.raw == nil || p.raw[0] == '"'):
	case text == "true", text == "1" && f.Rule.Loose:
		dst.SetBool(true)
		return ""
	case text == "false", text == "0" && f.Rule.Loose:
		dst.SetBool(false)
		return ""
	}
	return "Value must be a valid boolean"
}

func (f *field) setList(dst reflect.Value, p *param) string {
	list := make([]string, 0, len(p.items))
	ok := p.list
	for _, item := range p.items {
		list = append(list, item.Value)
	}
	if p.raw != nil {
		var items []*string // a null among them is not a text
		ok = json.Unmarshal(p.raw, &items) == nil && !slices.Contains(items, nil)
		if ok {
			for _, s := range items {
				list = append(list, *s)
			}
		}
	}
	if !ok || f.MaxItems > 0 && len(list) > f.MaxItems {
		why := "Value must be an array of texts"
		if f.MaxItems > 0 {
			why += fmt.Sprintf(", of at most %d", f.MaxItems)
		}
		return why
	}
	if f.Rule.Text != nil {
		for _, s := range list {
			if why := f.Rule.Text(s); why != "" {
				return why
			}
		}
	}
	dst.Set(reflect.ValueOf(list))
	return ""
}

func (f *field) setObject(dst reflect.Value, p *param) string {
	object, encoded, ok := Object(p.items), 0, true
	if !p.list {
		raw := []byte(p.raw)
		if text, isText := p.asText(); isText { // an object inside a text, as forms send it
			raw = []byte(text)
		}
		encoded = len(raw)
		object, ok = parseObject(raw)
	}
	if !ok {
		return "Value must be a valid object."
	}
	if f.Rule.Object != nil {
		if why := f.Rule.Object(object, encoded); why != "" {
			return why
		}
	}
	dst.Set(reflect.ValueOf(object))
	return ""
}

// parseObject reads a JSON object of scalars in its order. Numbers and words become texts. [] is an empty one.
func parseObject(raw []byte) (Object, bool) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	start, err := d.Token()
	if err != nil || start != json.Delim('{') && start != json.Delim('[') {
		return nil, false
	}
	object := Object{}
	for d.More() {
		name, err := d.Token()
		key, isText := name.(string)
		if err != nil || !isText || start == json.Delim('[') {
			return nil, false
		}
		value, err := d.Token()
		if err != nil {
			return nil, false
		}
		switch v := value.(type) {
		case string:
			object = append(object, flint.Header{Name: key, Value: v})
		case json.Number:
			object = append(object, flint.Header{Name: key, Value: v.String()})
		case bool:
			object = append(object, flint.Header{Name: key, Value: strconv.FormatBool(v)})
		case nil:
			object = append(object, flint.Header{Name: key})
		default:
			return nil, false
		}
	}
	if _, err := d.Token(); err != nil || d.More() {
		return nil, false
	}
	return object, true
}
