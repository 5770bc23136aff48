//! What wit-bindgen makes of `wit/`: the world `stage-component`. What it shares
//! with the world of tasks are the types of [`bindings`](crate::bindings).

wit_bindgen::generate!({
    path: "wit",
    world: "stage-component",
    pub_export_macro: true,
    export_macro_name: "export_stage_component",
    default_bindings_module: "tigerflow_task::bindings_stage",
    with: {
        "tigerflow:task/types@0.1.0": crate::bindings::tigerflow::task::types,
        "tigerflow:task/report@0.1.0": crate::bindings::tigerflow::task::report,
    },
});
