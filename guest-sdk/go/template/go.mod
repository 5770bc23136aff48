module example.org/{{name}}

go 1.26

require github.com/tigerflow-host/tigerflow-host/guest-sdk/go v0.0.0

replace github.com/tigerflow-host/tigerflow-host/guest-sdk/go => ./sdk
