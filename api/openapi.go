package api

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"flint"
	"flint/auth"
	"flint/wire"
)

// documentRoute serves the OpenAPI document, which is about itself too.
func (a *API) documentRoute() Route {
	return Route{
		Method: http.MethodGet, Path: "/v1/openapi.json", Name: "openapi.get", Summary: "This document",
		Scopes: []string{auth.Public}, Callers: auth.Unidentified,
		Handler: Handle(http.StatusOK, func(context.Context, *struct{}) (json.RawMessage, error) { return a.openAPI, nil }),
	}
}

type object = map[string]any

// document describes the routes as OpenAPI 3.1.
func document(routes []*boundRoute) []byte {
	schemas := object{}
	paths := object{}
	errorSchema := modelSchema(reflect.TypeFor[wire.Error](), schemas)
	recorded := recordings()
	for _, r := range routes {
		for i, path := range append([]string{r.Path}, r.Aliases...) {
			item, ok := paths[path].(object)
			if !ok {
				item = object{}
				paths[path] = item
			}
			x, name := recorded[r.Name], r.Name
			if i > 0 {
				name += "." + strconv.Itoa(i)
				x.Request = recorded[name].Request
			}
			op := operation(r, path, schemas, errorSchema, x)
			if i > 0 {
				op["operationId"] = name
				op["deprecated"] = true
			}
			item[strings.ToLower(r.Method)] = op
		}
	}
	doc, err := json.MarshalIndent(object{
		"openapi": "3.1.0",
		"info":    object{"title": "Flint", "version": flint.ReferenceVersion, "description": "The Functions API."},
		"servers": []any{object{"url": "/"}},
		"paths":   paths,
		"components": object{
			"schemas": schemas,
			"securitySchemes": object{
				"Project": object{"type": "apiKey", "in": "header", "name": "X-Appwrite-Project"},
				"Key":     object{"type": "apiKey", "in": "header", "name": "X-Appwrite-Key"},
				"JWT":     object{"type": "apiKey", "in": "header", "name": "X-Appwrite-JWT"},
				"Session": object{"type": "apiKey", "in": "header", "name": "X-Appwrite-Session"},
			},
		},
	}, "", "  ")
	if err != nil {
		panic("api: " + err.Error()) // the document is made of code
	}
	return doc
}

func operation(r *boundRoute, path string, schemas object, errorSchema any, x recording) object {
	service, _, _ := strings.Cut(r.Name, ".")
	op := object{
		"operationId": r.Name, "summary": r.Summary, "tags": []string{service},
		"x-scopes": r.Scopes, "security": security(r.Callers), "responses": responses(r, schemas, errorSchema, x),
	}
	var params []any
	body, required := object{}, []string{}
	for _, f := range r.fields {
		p := f.Param
		inPath := strings.Contains(path, "{"+p.Name+"}")
		switch {
		case inPath:
			params = append(params, object{"name": p.Name, "in": "path", "required": true, "description": p.Doc, "schema": paramSchema(p)})
		case p.In == "query":
			name := p.Name
			if p.Type == "array" {
				name += "[]"
			}
			params = append(params, object{"name": name, "in": "query", "required": p.Required, "description": p.Doc, "schema": paramSchema(p)})
		default:
			schema := paramSchema(p)
			if p.Doc != "" {
				schema["description"] = p.Doc
			}
			body[p.Name] = schema
			if p.Required {
				required = append(required, p.Name)
			}
		}
	}
	kind := "application/json"
	if file := r.Handler.file; file != "" {
		kind = "multipart/form-data"
		body[file] = object{"type": "string", "contentMediaType": "application/octet-stream"}
		required = append(required, file)
	}
	if strings.Contains(path, "{projectId}") { // of older paths; it is the caller's project
		params = append(params, object{"name": "projectId", "in": "path", "required": true, "description": "Project ID.", "schema": object{"type": "string"}})
	}
	if params != nil {
		op["parameters"] = params
	}
	if len(body) > 0 {
		schema := object{"type": "object", "properties": body}
		if len(required) > 0 {
			schema["required"] = required
		}
		op["requestBody"] = object{"required": len(required) > 0, "content": object{kind: media(schema, x.Request)}}
	}
	return op
}

func security(c auth.Callers) []any {
	all := []any{}
	if c&(auth.Guests|auth.Unidentified) != 0 {
		all = append(all, object{})
	}
	if c&auth.Keys != 0 {
		all = append(all, object{"Project": []string{}, "Key": []string{}})
	}
	if c&auth.Users != 0 {
		all = append(all, object{"Project": []string{}, "JWT": []string{}}, object{"Project": []string{}, "Session": []string{}})
	}
	return all
}

func responses(r *boundRoute, schemas object, errorSchema any, x recording) object {
	answers := object{"default": object{
		"description": "What went wrong.", "content": object{"application/json": media(errorSchema, x.Answers["default"])},
	}}
	for _, status := range append([]int{r.Handler.status}, r.Also...) {
		answer := object{"description": http.StatusText(status)}
		switch out := r.Handler.out; out {
		case reflect.TypeFor[NoContent]():
		case reflect.TypeFor[*Download]():
			answer["content"] = object{"application/octet-stream": object{"schema": object{"type": "string", "contentMediaType": "application/octet-stream"}}}
		case reflect.TypeFor[*Events]():
			answer["content"] = object{"text/event-stream": object{"schema": object{"type": "string"}}}
		default:
			schema := modelSchema(out, schemas)
			content := object{"application/json": media(schema, x.Answers[strconv.Itoa(status)])}
			if out.Implements(reflect.TypeFor[Former]()) {
				content["multipart/form-data"] = media(schema, nil)
			}
			answer["content"] = content
		}
		answers[strconv.Itoa(status)] = answer
	}
	return answers
}

func paramSchema(p Param) object {
	schema := object{"type": p.Type}
	checks := maps.Clone(p.Rule.Schema)
	switch p.Type {
	case "array":
		items := object{"type": "string"}
		maps.Copy(items, checks)
		schema["items"], checks = items, nil
		if p.MaxItems > 0 {
			schema["maxItems"] = p.MaxItems
		}
	case "object":
		schema["additionalProperties"] = object{"type": "string"}
	}
	maps.Copy(schema, checks)
	if p.Nullable {
		schema["type"] = []string{p.Type, "null"}
	}
	if p.Default != "" {
		var value any = p.Default
		if p.Type != "string" {
			_ = json.Unmarshal([]byte(p.Default), &value) // the default was parsed when the route was
		}
		schema["default"] = value
	}
	return schema
}

// modelSchema returns the schema of a model's type. Named structs go to schemas once and are referred to.
func modelSchema(t reflect.Type, schemas object) object {
	if t == reflect.TypeFor[json.RawMessage]() {
		return object{"type": "object"}
	}
	switch t.Kind() { //nolint:exhaustive // models are made of these
	case reflect.Pointer:
		return modelSchema(t.Elem(), schemas)
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return object{"type": "integer"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Slice:
		return object{"type": "array", "items": modelSchema(t.Elem(), schemas)}
	case reflect.Struct:
		if wraps(t) { // an answer with a status or a form of its own
			return modelSchema(t.Field(0).Type, schemas)
		}
		name := strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
		if _, done := schemas[name]; !done {
			schemas[name] = object{} // before its fields: a model may contain itself
			schemas[name] = structSchema(t, schemas)
		}
		return object{"$ref": "#/components/schemas/" + name}
	}
	panic(fmt.Sprintf("api: a model cannot have a %s", t))
}

// wraps reports whether a struct is nothing to clients but the model that it embeds.
func wraps(t reflect.Type) bool {
	for i := range t.NumField() {
		if f := t.Field(i); i == 0 && !f.Anonymous || i > 0 && f.IsExported() {
			return false
		}
	}
	return t.NumField() > 0
}

func structSchema(t reflect.Type, schemas object) object {
	properties, required := object{}, []string{}
	for _, f := range reflect.VisibleFields(t) {
		if !f.IsExported() {
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		schema := modelSchema(f.Type, schemas)
		optional := strings.Contains(options, "omitempty")
		if f.Type.Kind() == reflect.Pointer && f.Type.Elem().Kind() != reflect.Struct && !optional {
			schema["type"] = []string{fmt.Sprint(schema["type"]), "null"}
		}
		properties[name] = schema
		if !optional {
			required = append(required, name)
		}
	}
	slices.Sort(required)
	return object{"type": "object", "properties": properties, "required": required}
}
