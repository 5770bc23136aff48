package task

import (
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	wit "github.com/tigerflow-host/tigerflow-host/guest-sdk/go/internal/wit/imports/tigerflow_task_types"
)

type common struct {
	Verbose bool `help:"Says more"`
}

type options struct {
	common
	Top       int           `help:"How many" default:"10"`
	Small     uint8         `default:"255"`
	Ratio     float32       `default:"0.5"`
	Language  string        `choice:"en,de" default:"de"`
	Project   string        `param:"for"`
	Wait      time.Duration `default:"1m30s"`
	Address   netip.Addr    `default:"127.0.0.1"`
	MinLength *int
	Skipped   chan int `param:"-"`
	hidden    chan int
}

func (*options) Run(Input, Output) error { return nil }

func argument(name string, value wit.Value) wit.Argument {
	return wit.Argument{Name: name, Value: value}
}

func TestFieldsAreParameters(t *testing.T) {
	parameters, err := parametersOf(&options{})
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, p := range parameters {
		d := p.describe()
		line := d.Name
		if d.Required {
			line += " required"
		}
		if d.Default.IsSome() {
			line += " default"
		}
		told = append(told, line)
	}
	want := "verbose default, top default, small default, ratio default, language default, for required, " +
		"wait default, address default, min-length"
	if got := strings.Join(told, ", "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	d := parameters[1].describe()
	if d.Help != "How many" || d.Kind.Tag() != wit.ParameterKind_Integer || d.Default.Some().Integer() != 10 {
		t.Errorf("got %+v", d)
	}
	if choices := parameters[4].describe().Kind.Choice(); len(choices) != 2 || choices[1] != "de" {
		t.Errorf("got %v", choices)
	}
}

func TestArgumentsFillTheFields(t *testing.T) {
	var o options
	parameters, _ := parametersOf(&o)
	err := setParameters(&o, parameters, []wit.Argument{
		argument("for", wit.MakeValueText("x")),
		argument("verbose", wit.MakeValueBoolean(true)),
		argument("top", wit.MakeValueInteger(-3)),
		argument("ratio", wit.MakeValueInteger(2)),
		argument("language", wit.MakeValueText("en")),
		argument("min-length", wit.MakeValueInteger(4)),
		argument("wait", wit.MakeValueText("2s")),
	})
	if err != nil {
		t.Fatal(err)
	}
	if o.Project != "x" || !o.Verbose || o.Top != -3 || o.Small != 255 || o.Ratio != 2 || o.Language != "en" ||
		*o.MinLength != 4 || o.Wait != 2*time.Second || !o.Address.IsLoopback() {
		t.Errorf("got %+v", o)
	}
}

func TestArgumentsThatDoNotFitSayWhy(t *testing.T) {
	given := argument("for", wit.MakeValueText("x"))
	for _, test := range []struct {
		argument wit.Argument
		want     string
	}{
		{argument("top", wit.MakeValueText("x")), "the parameter `top` must be a whole number, not a text"},
		{argument("small", wit.MakeValueInteger(256)), "the parameter `small` must be from 0 to 255, not 256"},
		{argument("small", wit.MakeValueInteger(-1)), "the parameter `small` must be from 0 to 255, not -1"},
		{argument("language", wit.MakeValueText("fr")), "the parameter `language` must be one of en, de, not `fr`"},
		{argument("wait", wit.MakeValueText("long")), "the parameter `wait` must be a duration such as 1m30s, not `long`"},
		{argument("address", wit.MakeValueText("here")), "the parameter `address` does not fit: "},
	} {
		var o options
		parameters, _ := parametersOf(&o)
		err := setParameters(&o, parameters, []wit.Argument{given, test.argument})
		if err == nil || !strings.HasPrefix(err.Error(), test.want) || kindOf(err) != "InvalidParameter" {
			t.Errorf("got %v, not %s", err, test.want)
		}
	}
	var o options
	parameters, _ := parametersOf(&o)
	err := setParameters(&o, parameters, nil)
	if err == nil || err.Error() != "the parameter `for` is missing; give `--for`" || kindOf(err) != "MissingParameter" {
		t.Errorf("got %v", err)
	}
}

type (
	noType   struct{ Words []string }
	noNumber struct {
		Top int `default:"ten"`
	}
	tooLarge struct {
		Top int8 `default:"300"`
	}
	noChoice struct {
		Mode string `choice:"a,b" default:"c"`
	}
	choiceOfInt struct {
		Mode int `choice:"1,2"`
	}
	neverNil struct {
		Top *int `default:"1"`
	}
	twice struct {
		Top   int
		Other int `param:"top"`
	}
)

func (*noType) Run(Input, Output) error      { return nil }
func (*noNumber) Run(Input, Output) error    { return nil }
func (*tooLarge) Run(Input, Output) error    { return nil }
func (*noChoice) Run(Input, Output) error    { return nil }
func (*choiceOfInt) Run(Input, Output) error { return nil }
func (*neverNil) Run(Input, Output) error    { return nil }
func (*twice) Run(Input, Output) error       { return nil }

func TestFieldsThatCannotBeParametersSayWhy(t *testing.T) {
	for want, task := range map[string]Task{
		"task.noType: the field Words cannot be a parameter: its type is []string":                &noType{},
		"task.noNumber: the field Top has a default that does not fit: it must be a whole number": &noNumber{},
		"the field Top has a default that does not fit: it must be from -128 to 127, not 300":     &tooLarge{},
		"it must be one of a, b, not `c`":                                                         &noChoice{},
		"has choices, so it must be a string":                                                     &choiceOfInt{},
		"has a default, so it is never missing: make it no pointer":                               &neverNil{},
		"task.twice: two fields are the parameter `top`":                                          &twice{},
	} {
		if _, err := parametersOf(task); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, not %s", err, want)
		}
	}
}

func TestIntegersKeepTheirRange(t *testing.T) {
	var fields struct {
		I64 int64
		U64 uint64
		I8  int8
	}
	p := parameter{}
	for _, test := range []struct {
		index int
		value int64
		fits  bool
	}{{0, math.MinInt64, true}, {1, math.MaxInt64, true}, {1, -1, false}, {2, 127, true}, {2, 128, false}} {
		field := reflect.ValueOf(&fields).Elem().Field(test.index)
		p.value = field.Type()
		if err := p.set(field, wit.MakeValueInteger(test.value)); (err == nil) != test.fits {
			t.Errorf("%s, %d: %v", field.Type(), test.value, err)
		}
	}
}

func TestNamesBecomeKebabCase(t *testing.T) {
	for name, want := range map[string]string{
		"Top": "top", "MinLength": "min-length", "APIKey": "api-key", "URL": "url", "Top10": "top10", "UserID": "user-id",
	} {
		if got := kebab(name); got != want {
			t.Errorf("%s: got %s, not %s", name, got, want)
		}
	}
}
