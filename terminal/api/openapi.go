package api

import (
	"encoding"
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// OpenAPI describes [Routes] in the form of OpenAPI 3.1. Schemas come from the
// Go types, so that the document cannot differ from what is sent.
func OpenAPI(version string) map[string]any {
	schemas := make(map[string]any)
	paths := make(map[string]any)
	for _, r := range Routes() {
		item, _ := paths[r.Path].(map[string]any)
		if item == nil {
			item = make(map[string]any)
			paths[r.Path] = item
		}
		item[strings.ToLower(r.Method)] = operation(r, schemas)
	}
	return map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title": "onecard", "version": version,
			"description": "The terminal service of the social security card. Money is yuan with two decimals, as text. " +
				"Errors carry one code of the catalogue (docs/errors.md).",
		},
		"paths": paths,
		"components": map[string]any{
			"schemas": schemas,
			"securitySchemes": map[string]any{
				"token": map[string]any{"type": "http", "scheme": "bearer", "description": "The content of the file token in the state directory."},
				"page":  map[string]any{"type": "apiKey", "in": "cookie", "name": cookieName, "description": "The service's own page."},
			},
		},
		"security": []any{map[string]any{"token": []any{}}, map[string]any{"page": []any{}}},
	}
}

var pathParameter = regexp.MustCompile(`\{(\w+)\}`)

func operation(r Route, schemas map[string]any) map[string]any {
	content := func(v any) map[string]any {
		return map[string]any{"application/json": map[string]any{"schema": schemaOf(reflect.TypeOf(v), schemas)}}
	}
	answers := map[string]any{"default": map[string]any{"description": "A failure of the catalogue", "content": content(FaultAnswer{})}}
	switch {
	case r.Path == "/v1/events":
		answers["101"] = map[string]any{"description": "WebSocket; every message is an Event", "content": content(r.Answer)}
	case r.Path == "/metrics":
		answers["200"] = map[string]any{"description": "Metrics", "content": map[string]any{"text/plain": map[string]any{"schema": map[string]any{"type": "string"}}}}
	case r.Answer == nil:
		answers["204"] = map[string]any{"description": "Done"}
	default:
		answers["200"] = map[string]any{"description": "Done", "content": content(r.Answer)}
	}
	op := map[string]any{"summary": r.Summary, "responses": answers}
	var parameters []any
	for _, m := range pathParameter.FindAllStringSubmatch(r.Path, -1) {
		parameters = append(parameters, map[string]any{"name": m[1], "in": "path", "required": true, "schema": map[string]any{"type": "string"}})
	}
	for _, q := range r.Query {
		parameters = append(parameters, map[string]any{"name": q.Name, "in": "query", "description": q.Summary, "schema": map[string]any{"type": "string"}})
	}
	if parameters != nil {
		op["parameters"] = parameters
	}
	if r.Body != nil {
		op["requestBody"] = map[string]any{"content": content(r.Body)}
	}
	if r.Public {
		op["security"] = []any{}
	}
	return op
}

var (
	timeType   = reflect.TypeFor[time.Time]()
	digitsType = reflect.TypeFor[Digits]()
	rawType    = reflect.TypeFor[json.RawMessage]()
	jsonType   = reflect.TypeFor[json.Marshaler]()
	textType   = reflect.TypeFor[encoding.TextMarshaler]()
	bytesType  = reflect.TypeFor[[]byte]()
)

// schemaOf describes a type; structs are named in schemas and referred to.
func schemaOf(t reflect.Type, schemas map[string]any) map[string]any {
	switch {
	case t == timeType:
		return map[string]any{"type": "string", "format": "date-time"}
	case t == rawType:
		return map[string]any{"description": "Any JSON"}
	case t == digitsType:
		return map[string]any{"type": "string", "pattern": "^[0-9]{4,16}$"}
	case t == bytesType:
		return map[string]any{"type": "string", "contentEncoding": "base64"}
	case t.Kind() == reflect.Pointer:
	case t.Implements(textType):
		return map[string]any{"type": "string"}
	case t.Implements(jsonType) && t.Kind() == reflect.Struct:
		return map[string]any{"type": "object"}
	case t.Implements(jsonType) && t.Kind() == reflect.Int64:
		return map[string]any{"type": "number"}
	case t.Implements(jsonType):
		return map[string]any{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		inner := schemaOf(t.Elem(), schemas)
		return map[string]any{"anyOf": []any{inner, map[string]any{"type": "null"}}}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64, reflect.Uint64, reflect.Uint8:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem(), schemas)}
	case reflect.Map:
		return map[string]any{"type": "object"}
	case reflect.Struct:
		name := schemaName(t)
		if _, known := schemas[name]; !known {
			schemas[name] = nil // ends recursion
			schemas[name] = structSchema(t, schemas)
		}
		return map[string]any{"$ref": "#/components/schemas/" + name}
	default:
		return map[string]any{"type": "string"}
	}
}

// schemaName is a type's name; those of other packages than the service's own
// carry theirs, because names repeat.
func schemaName(t reflect.Type) string {
	pkg := t.PkgPath()[strings.LastIndexByte(t.PkgPath(), '/')+1:]
	if pkg == "terminal" || pkg == "api" {
		return t.Name()
	}
	return pkg + "." + t.Name()
}

func structSchema(t reflect.Type, schemas map[string]any) map[string]any {
	properties := make(map[string]any)
	required := []string{}
	var add func(reflect.Type)
	add = func(t reflect.Type) {
		for i := range t.NumField() {
			f := t.Field(i)
			tag, tagged := f.Tag.Lookup("json")
			name, options, _ := strings.Cut(tag, ",")
			if f.Anonymous && !tagged && f.Type.Kind() == reflect.Struct {
				add(f.Type)
				continue
			}
			if !f.IsExported() || name == "-" {
				continue
			}
			if name == "" {
				name = f.Name
			}
			properties[name] = schemaOf(f.Type, schemas)
			if !strings.Contains(options, "omit") {
				required = append(required, name)
			}
		}
	}
	add(t)
	slices.Sort(required)
	required = slices.Compact(required)
	schema := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		schema["required"] = required
	}
	return schema
}
