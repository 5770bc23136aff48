package task

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	wit "github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit/imports/tigerflow_task_types"
	types "github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit/types"
)

// parameter is a field of a task's struct.
type parameter struct {
	name string
	help string
	// index leads to the field, through embedded structs.
	index []int
	// value is the type of its value: what the field points to, where it is a
	// pointer.
	value   reflect.Type
	pointer bool
	choices []string
	// standard is its default, where it has one.
	standard types.Option[wit.Value]
}

// parametersOf reads the fields and tags of a task's struct.
func parametersOf(task Task) ([]parameter, error) {
	if task == nil {
		return nil, errors.New("there is no task: it is nil")
	}
	fields, ok := structOf(task)
	if !ok {
		switch kind := reflect.TypeOf(task).Kind(); {
		case kind == reflect.Struct:
			return nil, fmt.Errorf("%T cannot take its parameters: register a pointer, &%[1]T{}", task)
		case kind == reflect.Pointer && reflect.ValueOf(task).IsNil():
			return nil, fmt.Errorf("there is no task: the %T is nil", task)
		}
		return nil, nil
	}
	parameters, err := parametersIn(fields.Type(), nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", fields.Type(), err)
	}
	for i, parameter := range parameters {
		for _, other := range parameters[:i] {
			if other.name == parameter.name {
				return nil, fmt.Errorf("%s: two fields are the parameter `%s`", fields.Type(), other.name)
			}
		}
	}
	return parameters, nil
}

func parametersIn(fields reflect.Type, index []int) ([]parameter, error) {
	var parameters []parameter
	for i := range fields.NumField() {
		field := fields.Field(i)
		index := append(slices.Clone(index), i)
		if field.Tag.Get("param") == "-" {
			continue
		}
		if field.Anonymous && field.Type.Kind() == reflect.Struct {
			embedded, err := parametersIn(field.Type, index)
			if err != nil {
				return nil, err
			}
			parameters = append(parameters, embedded...)
			continue
		}
		if !field.IsExported() {
			continue
		}
		parameter, err := parameterOf(field, index)
		if err != nil {
			return nil, fmt.Errorf("the field %s %w", field.Name, err)
		}
		parameters = append(parameters, parameter)
	}
	return parameters, nil
}

// parameterOf reads a field. An error follows "the field NAME ".
func parameterOf(field reflect.StructField, index []int) (parameter, error) {
	p := parameter{
		name:     field.Tag.Get("param"),
		help:     field.Tag.Get("help"),
		index:    index,
		value:    field.Type,
		standard: types.None[wit.Value](),
	}
	if p.name == "" {
		p.name = kebab(field.Name)
	}
	if p.value.Kind() == reflect.Pointer {
		p.pointer = true
		p.value = p.value.Elem()
	}
	kind, ok := kindOfValue(p.value)
	if !ok {
		return p, fmt.Errorf("cannot be a parameter: its type is %s, and none of string, bool, integers, floats, "+
			"time.Duration, types with UnmarshalText, and pointers to these (`param:\"-\"` makes it none)", field.Type)
	}
	if choices, ok := field.Tag.Lookup("choice"); ok {
		if p.value.Kind() != reflect.String {
			return p, errors.New("has choices, so it must be a string")
		}
		p.choices = strings.Split(choices, ",")
	}
	if text, ok := field.Tag.Lookup("default"); ok {
		if p.pointer {
			return p, errors.New("has a default, so it is never missing: make it no pointer")
		}
		value, err := parse(text, kind)
		if err == nil {
			err = p.set(reflect.New(p.value).Elem(), value)
		}
		if err != nil {
			return p, fmt.Errorf("has a default that does not fit: it %w", err)
		}
		p.standard = types.Some(value)
	} else if kind == wit.ParameterKind_Boolean && !p.pointer {
		p.standard = types.Some(wit.MakeValueBoolean(false))
	}
	return p, nil
}

// describe is the parameter as the host shows it.
func (p *parameter) describe() wit.Parameter {
	tag, _ := kindOfValue(p.value)
	kind := wit.MakeParameterKindText()
	switch {
	case p.choices != nil:
		kind = wit.MakeParameterKindChoice(p.choices)
	case tag == wit.ParameterKind_Integer:
		kind = wit.MakeParameterKindInteger()
	case tag == wit.ParameterKind_Number:
		kind = wit.MakeParameterKindNumber()
	case tag == wit.ParameterKind_Boolean:
		kind = wit.MakeParameterKindBoolean()
	}
	required := !p.pointer && p.standard.IsNone()
	return wit.Parameter{Name: p.name, Help: p.help, Kind: kind, Default: p.standard, Required: required}
}

// setParameters fills a task's struct with what the host gave.
func setParameters(task Task, parameters []parameter, arguments []wit.Argument) error {
	fields, _ := structOf(task)
	for _, p := range parameters {
		i := slices.IndexFunc(arguments, func(a wit.Argument) bool { return a.Name == p.name })
		value := p.standard
		if i >= 0 {
			value = types.Some(arguments[i].Value)
		}
		field := fields.FieldByIndex(p.index)
		switch {
		case value.IsNone() && p.pointer:
			field.SetZero()
			continue
		case value.IsNone():
			message := fmt.Sprintf("the parameter `%s` is missing; give `--%[1]s`", p.name)
			return &ownError{kind: "MissingParameter", message: message}
		case p.pointer:
			field.Set(reflect.New(p.value))
			field = field.Elem()
		}
		if err := p.set(field, value.Some()); err != nil {
			message := fmt.Sprintf("the parameter `%s` %v", p.name, err)
			return &ownError{kind: "InvalidParameter", message: message}
		}
	}
	return nil
}

// set puts a value into a field. An error follows "the parameter `NAME` ".
func (p *parameter) set(field reflect.Value, value wit.Value) error {
	if got, wanted := tagOf(value), kindName(p.value); got != wanted {
		// Every whole number is a number, too.
		if wanted == "a number" && value.Tag() == wit.Value_Integer {
			value = wit.MakeValueNumber(float64(value.Integer()))
		} else {
			return fmt.Errorf("must be %s, not %s", wanted, got)
		}
	}
	switch value.Tag() {
	case wit.Value_Boolean:
		field.SetBool(value.Boolean())
	case wit.Value_Number:
		field.SetFloat(value.Number())
	case wit.Value_Integer:
		return setInteger(field, value.Integer())
	case wit.Value_Text:
		return p.setText(field, value.Text())
	}
	return nil
}

func setInteger(field reflect.Value, value int64) error {
	low, high := int64(math.MinInt64), int64(math.MaxInt64)
	if field.CanInt() {
		if !field.OverflowInt(value) {
			field.SetInt(value)
			return nil
		}
		low, high = -1<<(field.Type().Bits()-1), 1<<(field.Type().Bits()-1)-1
	} else {
		if value >= 0 && !field.OverflowUint(uint64(value)) {
			field.SetUint(uint64(value))
			return nil
		}
		low = 0
		if bits := field.Type().Bits(); bits < 64 {
			high = 1<<bits - 1
		}
	}
	return fmt.Errorf("must be from %d to %d, not %d", low, high, value)
}

func (p *parameter) setText(field reflect.Value, text string) error {
	if p.choices != nil && !slices.Contains(p.choices, text) {
		return fmt.Errorf("must be one of %s, not `%s`", strings.Join(p.choices, ", "), text)
	}
	// The host may use the memory of its text again.
	text = strings.Clone(text)
	switch value := field.Addr().Interface().(type) {
	case *time.Duration:
		duration, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("must be a duration such as 1m30s, not `%s`", text)
		}
		*value = duration
	case encoding.TextUnmarshaler:
		if err := value.UnmarshalText([]byte(text)); err != nil {
			return fmt.Errorf("does not fit: %w", err)
		}
	default:
		field.SetString(text)
	}
	return nil
}

// kindOfValue is what the values of a type look like, where they can be a
// parameter's.
func kindOfValue(value reflect.Type) (kind uint8, ok bool) {
	if value == reflect.TypeFor[time.Duration]() ||
		reflect.PointerTo(value).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return wit.ParameterKind_Text, true
	}
	switch value.Kind() {
	case reflect.String:
		return wit.ParameterKind_Text, true
	case reflect.Bool:
		return wit.ParameterKind_Boolean, true
	case reflect.Float32, reflect.Float64:
		return wit.ParameterKind_Number, true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return wit.ParameterKind_Integer, true
	}
	return 0, false
}

// kindName says what the values of a type are.
func kindName(value reflect.Type) string {
	kind, _ := kindOfValue(value)
	switch kind {
	case wit.ParameterKind_Integer:
		return "a whole number"
	case wit.ParameterKind_Number:
		return "a number"
	case wit.ParameterKind_Boolean:
		return "`true` or `false`"
	}
	return "a text"
}

// tagOf says what a value is, in the words of kindName.
func tagOf(value wit.Value) string {
	switch value.Tag() {
	case wit.Value_Integer:
		return "a whole number"
	case wit.Value_Number:
		return "a number"
	case wit.Value_Boolean:
		return "`true` or `false`"
	}
	return "a text"
}

// parse reads a value as a tag or a test writes it. An error follows "it ".
func parse(text string, kind uint8) (wit.Value, error) {
	switch kind {
	case wit.ParameterKind_Integer:
		if integer, err := strconv.ParseInt(text, 10, 64); err == nil {
			return wit.MakeValueInteger(integer), nil
		}
		return wit.Value{}, fmt.Errorf("must be a whole number, not `%s`", text)
	case wit.ParameterKind_Number:
		if number, err := strconv.ParseFloat(text, 64); err == nil {
			return wit.MakeValueNumber(number), nil
		}
		return wit.Value{}, fmt.Errorf("must be a number, not `%s`", text)
	case wit.ParameterKind_Boolean:
		if boolean, err := strconv.ParseBool(text); err == nil {
			return wit.MakeValueBoolean(boolean), nil
		}
		return wit.Value{}, fmt.Errorf("must be `true` or `false`, not `%s`", text)
	}
	return wit.MakeValueText(text), nil
}

// kebab is a Go name in kebab-case: MinLength is min-length, APIKey api-key.
func kebab(name string) string {
	letters := []rune(name)
	var result strings.Builder
	for i, letter := range letters {
		if i > 0 && unicode.IsUpper(letter) {
			afterLower := !unicode.IsUpper(letters[i-1])
			beforeLower := i+1 < len(letters) && unicode.IsLower(letters[i+1])
			if afterLower || beforeLower {
				result.WriteByte('-')
			}
		}
		result.WriteRune(unicode.ToLower(letter))
	}
	return result.String()
}
