module upper

go 1.26

require github.com/tigerflow-host/tigerflow-host/guest-sdk/go v0.0.0

replace github.com/tigerflow-host/tigerflow-host/guest-sdk/go => ../../../../guest-sdk/go
