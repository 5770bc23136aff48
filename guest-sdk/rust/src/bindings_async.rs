//! What wit-bindgen makes of `wit/`: the world `async-task-component`. What
//! both worlds share are the types of [`bindings`](crate::bindings).

wit_bindgen::generate!({
    path: "wit",
    world: "async-task-component",
    pub_export_macro: true,
    export_macro_name: "export_async_component",
    default_bindings_module: "tigerflow_task::bindings_async",
    with: {
        "tigerflow:task/types@0.1.0": crate::bindings::tigerflow::task::types,
        "tigerflow:task/report@0.1.0": crate::bindings::tigerflow::task::report,
    },
});
