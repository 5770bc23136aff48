//! `#[derive(Choice)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Fields, LitStr, Result, Variant};

use crate::names::{Names, kebab_case};

pub fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Enum(data) = &input.data else {
        return Err(Error::new_spanned(&input.ident, "a choice is an enum"));
    };
    if data.variants.is_empty() {
        return Err(Error::new_spanned(&input.ident, "there is nothing to choose from"));
    }
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(&input.generics, "a choice has no generics"));
    }

    let mut taken = Names::default();
    let mut names = Vec::new();
    let mut variants = Vec::new();
    for variant in &data.variants {
        if !matches!(variant.fields, Fields::Unit) {
            return Err(Error::new_spanned(
                &variant.fields,
                "a choice is a name alone: its variants hold no data",
            ));
        }
        let name = name_of(variant)?;
        taken.add(&name, variant.span())?;
        names.push(name);
        variants.push(&variant.ident);
    }

    let ident = &input.ident;
    Ok(quote! {
        #[automatically_derived]
        impl ::tigerflow_task::Choice for #ident {
            const NAMES: &'static [&'static str] = &[#(#names),*];

            fn from_name(name: &str) -> ::core::option::Option<Self> {
                match name {
                    #(#names => ::core::option::Option::Some(Self::#variants),)*
                    _ => ::core::option::Option::None,
                }
            }

            fn name(&self) -> &'static str {
                match self {
                    #(Self::#variants => #names,)*
                }
            }
        }

        #[automatically_derived]
        impl ::tigerflow_task::params::ParamValue for #ident {
            fn kind() -> ::tigerflow_task::params::ParameterKind {
                ::tigerflow_task::params::ParameterKind::Choice(
                    <Self as ::tigerflow_task::Choice>::NAMES
                        .iter()
                        .map(|name| ::std::string::ToString::to_string(name))
                        .collect(),
                )
            }

            fn from_value(
                value: ::tigerflow_task::params::Value,
            ) -> ::core::result::Result<Self, ::std::string::String> {
                ::tigerflow_task::params::choice_from_value(value)
            }

            fn into_value(self) -> ::core::option::Option<::tigerflow_task::params::Value> {
                ::core::option::Option::Some(::tigerflow_task::params::Value::Text(
                    ::std::string::ToString::to_string(::tigerflow_task::Choice::name(&self)),
                ))
            }
        }
    })
}

/// The variant's name, given or in kebab-case.
fn name_of(variant: &Variant) -> Result<String> {
    let mut name = kebab_case(&variant.ident.to_string());
    for attribute in &variant.attrs {
        if !attribute.path().is_ident("choice") {
            continue;
        }
        attribute.parse_nested_meta(|setting| {
            if !setting.path.is_ident("name") {
                return Err(setting.error("no such setting; there is `name`"));
            }
            name = setting.value()?.parse::<LitStr>()?.value();
            if name.is_empty() {
                return Err(setting.error("a choice's name is not empty"));
            }
            Ok(())
        })?;
    }
    Ok(name)
}
