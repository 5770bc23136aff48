//! `#[derive(Params)]`.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DeriveInput, Error, Expr, ExprLit, Field, Fields, Lit, LitStr, Meta, Result,
};

use crate::names::{Names, kebab_case};

pub fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(&input.ident, "parameters are a struct with named fields"));
    };
    let Fields::Named(fields) = &data.fields else {
        return Err(Error::new_spanned(
            &input.ident,
            "parameters need names: write `struct NAME { field: TYPE }`, or take `()` for none",
        ));
    };

    let mut names = Names::default();
    let mut descriptions = Vec::new();
    let mut values = Vec::new();
    for field in &fields.named {
        let parameter = Parameter::of(field)?;
        names.add(&parameter.name, field.span())?;
        let Parameter { name, help, default } = &parameter;
        let (ident, ty) = (&field.ident, &field.ty);
        // Spanned at the type, so that a wrong one is marked there.
        descriptions.push(quote_spanned! {ty.span()=>
            ::tigerflow_task::params::parameter::<#ty>(#name, #help, #default)
        });
        values.push(quote_spanned! {ty.span()=>
            #ident: ::tigerflow_task::params::Arguments::take::<#ty>(arguments, #name, #default)?
        });
    }

    let ident = &input.ident;
    let (generics, arguments, bounds) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #generics ::tigerflow_task::Params for #ident #arguments #bounds {
            fn parameters() -> ::std::vec::Vec<::tigerflow_task::params::Parameter> {
                ::std::vec![#(#descriptions),*]
            }

            fn from_arguments(
                arguments: &mut ::tigerflow_task::params::Arguments,
            ) -> ::tigerflow_task::Result<Self> {
                ::core::result::Result::Ok(Self { #(#values),* })
            }
        }
    })
}

/// What the derive knows of one field.
struct Parameter {
    name: String,
    help: String,
    /// An `Option` of the field's type.
    default: TokenStream,
}

impl Parameter {
    fn of(field: &Field) -> Result<Self> {
        let ident = field.ident.as_ref().expect("the fields are named");
        let mut name = kebab_case(&ident.to_string());
        let mut span = ident.span();
        let mut default = quote!(::core::option::Option::None);
        for attribute in &field.attrs {
            if !attribute.path().is_ident("param") {
                continue;
            }
            attribute.parse_nested_meta(|setting| {
                if setting.path.is_ident("default") {
                    default = default_of(field, &setting.value()?.parse()?);
                } else if setting.path.is_ident("name") {
                    let given: LitStr = setting.value()?.parse()?;
                    name = given.value();
                    span = given.span();
                } else {
                    return Err(setting.error("no such setting; there are `default` and `name`"));
                }
                Ok(())
            })?;
        }
        check_name(&name, span)?;
        Ok(Self { name, help: help(&field.attrs), default })
    }
}

/// A literal text becomes the field's type; any other expression must have it.
fn default_of(field: &Field, value: &Expr) -> TokenStream {
    let ty = &field.ty;
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => quote_spanned! {value.span()=>
            ::core::option::Option::Some(<#ty as ::core::convert::From<&str>>::from(#text))
        },
        _ => quote_spanned! {value.span()=>
            ::core::option::Option::Some::<#ty>(#value)
        },
    }
}

/// Whether an option of the command line can have this name.
fn check_name(name: &str, span: Span) -> Result<()> {
    let fits = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.split('-').all(|word| !word.is_empty() && word.chars().all(is_name_letter));
    if fits {
        return Ok(());
    }
    Err(Error::new(
        span,
        "a parameter's name is kebab-case: lower-case letters, digits and single hyphens",
    ))
}

fn is_name_letter(letter: char) -> bool {
    letter.is_ascii_lowercase() || letter.is_ascii_digit()
}

/// The first paragraph of the doc comment, on one line.
fn help(attributes: &[Attribute]) -> String {
    let mut help = String::new();
    for attribute in attributes {
        let Meta::NameValue(doc) = &attribute.meta else {
            continue;
        };
        let Expr::Lit(ExprLit { lit: Lit::Str(line), .. }) = &doc.value else {
            continue;
        };
        if !doc.path.is_ident("doc") {
            continue;
        }
        let line = line.value();
        match line.trim() {
            "" if help.is_empty() => {}
            "" => break,
            line => {
                if !help.is_empty() {
                    help.push(' ');
                }
                help.push_str(line);
            }
        }
    }
    help
}
