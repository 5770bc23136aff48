//! Requests outside of a component: what a test says that servers answer.

use std::cell::RefCell;

use super::Headers;
use super::exchange::{Head, Outgoing};
use super::fault::Fault;
use crate::testing::{HttpAnswer, HttpRequest};

/// What stands in for all servers.
pub type Servers = Box<dyn FnMut(&HttpRequest) -> HttpAnswer>;

thread_local! {
    pub static SERVERS: RefCell<Option<Servers>> = const { RefCell::new(None) };
}

/// The rest of a body.
pub struct Body(Option<Vec<u8>>);

fn answer(outgoing: &Outgoing) -> Result<(Head, Body), Fault> {
    let request = HttpRequest {
        method: outgoing.method.clone(),
        url: outgoing.url.as_str().to_owned(),
        headers: outgoing.headers.iter().cloned().collect(),
        body: outgoing.body.as_deref().unwrap_or_default().to_vec(),
    };
    SERVERS.with_borrow_mut(|servers| {
        let servers = servers.as_mut().ok_or_else(|| {
            Fault::lasting(
                "Unsupported",
                "there is no network outside of a component; a test answers with \
                 `tigerflow_task::testing::answer_http`",
            )
        })?;
        let HttpAnswer { status, headers, body } = servers(&request);
        Ok((Head { status, headers: Headers(headers) }, Body(Some(body))))
    })
}

impl Body {
    fn next(&mut self) -> Option<Vec<u8>> {
        self.0.take().filter(|body| !body.is_empty())
    }
}

pub mod blocking {
    use std::time::Instant;

    use super::{Fault, Head, Outgoing};

    pub struct Body(super::Body);

    pub fn exchange(outgoing: &Outgoing, _: Option<Instant>) -> Result<(Head, Body), Fault> {
        super::answer(outgoing).map(|(head, body)| (head, Body(body)))
    }

    impl Body {
        #[allow(clippy::unnecessary_wraps)] // As it is in a component.
        pub fn chunk(&mut self, _: Option<Instant>) -> Result<Option<Vec<u8>>, Fault> {
            Ok(self.0.next())
        }
    }
}

#[cfg(feature = "async")]
pub mod asynchronous {
    use super::{Fault, Head, Outgoing};

    pub struct Body(super::Body);

    pub async fn exchange(outgoing: &Outgoing) -> Result<(Head, Body), Fault> {
        super::answer(outgoing).map(|(head, body)| (head, Body(body)))
    }

    impl Body {
        pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, Fault> {
            Ok(self.0.next())
        }
    }
}
