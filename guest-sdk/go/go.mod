module github.com/tigerflow-host/tigerflow-host/guest-sdk/go

go 1.26
