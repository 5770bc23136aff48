//! Pages of the web: each input file holds a URL, and becomes the page's text.

mod html;
mod page;

use std::time::Duration;

use tigerflow_task::http;
use tigerflow_task::prelude::*;

use crate::page::{Kind, address, kind, text};

/// How long connecting to a server may take.
const CONNECT_TIME: Duration = Duration::from_secs(15);

/// How long one page may take. Less than the default of `--timeout`, which would
/// cost the instance, and with it every other page in flight.
const PAGE_TIME: Duration = Duration::from_secs(60);

/// The context: how every page is fetched.
struct Fetch {
    max_bytes: u64,
    user_agent: String,
    redirects: u32,
    any_type: bool,
}

#[derive(Params)]
struct Options {
    /// The longest page to take, in bytes
    #[param(default = 10_485_760)]
    max_bytes: u64,
    /// What to call itself
    #[param(default = concat!("tigerflow-fetch/", env!("CARGO_PKG_VERSION")).to_owned())]
    user_agent: String,
    /// How many redirects to follow
    #[param(default = 10)]
    redirects: u32,
    /// Take what is no text, too, and write it as it is
    any_type: bool,
}

impl AsyncTask for Fetch {
    type Params = Options;

    fn about() -> About {
        // Which servers it needs, the inputs say.
        About::new().option("timeout", "2m").option("instances", "cores")
    }

    async fn setup(options: Options) -> Result<Self> {
        let Options { max_bytes, user_agent, redirects, any_type } = options;
        if user_agent.trim().is_empty() || user_agent.contains(char::is_control) {
            bail!("`--user-agent` must be a name on one line");
        }
        Ok(Fetch { max_bytes, user_agent, redirects, any_type })
    }

    async fn run(&self, input: &Input, output: &Output) -> Result<()> {
        let file = input.read_to_string()?;
        let page = http::get(address(&file)?)
            .header("accept", "text/html, text/*;q=0.9, */*;q=0.1")
            .header("user-agent", &*self.user_agent)
            .redirects(self.redirects)
            .max_bytes(self.max_bytes)
            .connect_timeout(CONNECT_TIME)
            .timeout(PAGE_TIME)
            .send()
            .await?
            .error_for_status()
            .await?;
        if !page.is_success() {
            bail!("the server answered {}, and no page; see `--redirects`", page.status());
        }
        let content_type = page.header("content-type").unwrap_or_default().to_owned();
        let kind = kind(&content_type);
        if kind == Kind::Other && !self.any_type {
            let what = match &*content_type {
                "" => "of an unknown type".to_owned(),
                name => format!("`{name}`"),
            };
            return Err(Error::failed(format!(
                "the page is {what}, and no text; `--any-type` writes it as it is"
            ))
            .with_kind("ContentType"));
        }
        let body = page.bytes().await?;
        match kind {
            Kind::Html => output.write(html::readable(&text(&body, &content_type, kind))?),
            Kind::Text => output.write(&*text(&body, &content_type, kind)),
            Kind::Other => output.write(body),
        }
    }
}

export_async_task!(Fetch);

#[cfg(test)]
mod tests;
