//! A route: how it is served, and what the document says of it, in one value.
//!
//! So the two cannot come apart: what a route says of who may ask, of being
//! asked again, of tags and of its codes is what the router does and what
//! `openapi.json` tells.

use avvy_model::Code;
use axum::Router;
use axum::handler::Handler;
use axum::http::{Method, StatusCode};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodFilter, MethodRouter, on};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::{App, admin, auth, cors, repeat};

/// Under which everything is that is not for operators' probes.
pub(super) const API: &str = "/api/v1";

/// Families whose every change has to have an `Idempotency-Key`.
const KEYED: [&str; 3] = ["/api/v1/object", "/api/v1/prototype", "/api/v1/users"];

/// Who may ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Access {
    /// Who has a token that counts.
    Token,
    /// Who has the operator's token.
    Admin,
    /// Anyone.
    Anyone,
}

/// What an `Idempotency-Key` is to a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Repeat {
    /// Nothing: it is not looked at.
    Ignored,
    /// What a second request goes by, if there is one.
    Accepted,
    /// The same, and a request without one is refused.
    Required,
}

/// What `If-Match` is to a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Match {
    /// Nothing.
    Ignored,
    /// A condition, if it is there.
    Accepted,
    /// The same, and a request without it is refused.
    Required,
}

/// What a body is.
#[derive(Clone)]
pub(super) enum Form {
    /// The schema of this name, in CBOR and JSON.
    Schema(String),
    /// Text of this media type.
    Text(&'static str),
    /// Nothing.
    None,
}

/// An answer that is no error.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) meaning: &'static str,
    pub(super) form: Form,
}

/// A parameter of the query, or, by the same name as in the path, of that.
#[derive(Clone, Copy)]
pub(super) struct Param {
    pub(super) name: &'static str,
    pub(super) meaning: &'static str,
    pub(super) kind: Kind,
}

/// What a parameter can be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text of at most so many bytes.
    Text(usize),
    /// A whole number in this range.
    Number(u32, u32),
    /// A UUID.
    Id,
    /// True or false.
    Flag,
    /// One of these.
    OneOf(&'static [&'static str]),
}

/// Where a page begins.
pub(super) const AFTER: Param =
    Param { name: "after", meaning: "The `next` of the page before.", kind: Kind::Text(512) };

/// How long a page is.
pub(super) const LIMIT: Param = Param {
    name: "limit",
    meaning: "At most so many entries; 100 if left out. The server's own bound counts, too.",
    kind: Kind::Number(1, u32::MAX),
};

/// A schema by its name.
pub(super) type Named = (String, RefOr<Schema>);

/// How one method of one path is served, and what is said of it.
#[derive(Clone)]
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) summary: &'static str,
    pub(super) access: Access,
    pub(super) repeat: Repeat,
    pub(super) matches: Match,
    /// Whether its answers have an `ETag`.
    pub(super) is_tagged: bool,
    /// Whether it reads a body, and whether that may be missing.
    pub(super) takes: Option<(String, bool)>,
    pub(super) answers: Vec<Answer>,
    pub(super) codes: Vec<Code>,
    /// Codes under another status than their own.
    pub(super) odd_codes: Vec<(StatusCode, Code)>,
    pub(super) params: Vec<Param>,
    /// Those of the query without which it is refused.
    pub(super) needed: Vec<Param>,
    pub(super) schemas: Vec<Named>,
    handler: MethodRouter<App>,
}

/// What whoever asks a brane can be refused with, whatever is asked.
pub(super) const ASKING_A_BRANE: &[Code] =
    &[Code::Banned, Code::BraneArchived, Code::BraneDeleted, Code::Damaged, Code::Moved];

impl Route {
    /// `GET` of a path under `/api/v1`, for whoever has a token.
    pub(super) fn get<H: Handler<T, App>, T: 'static>(
        path: &str,
        handler: H,
        summary: &'static str,
    ) -> Self {
        Self::new(Method::GET, MethodFilter::GET, format!("{API}{path}"), handler, summary)
    }

    /// `POST` of the same.
    pub(super) fn post<H: Handler<T, App>, T: 'static>(
        path: &str,
        handler: H,
        summary: &'static str,
    ) -> Self {
        Self::new(Method::POST, MethodFilter::POST, format!("{API}{path}"), handler, summary)
    }

    /// `PATCH` of the same.
    pub(super) fn patch<H: Handler<T, App>, T: 'static>(
        path: &str,
        handler: H,
        summary: &'static str,
    ) -> Self {
        Self::new(Method::PATCH, MethodFilter::PATCH, format!("{API}{path}"), handler, summary)
    }

    /// `DELETE` of the same.
    pub(super) fn delete<H: Handler<T, App>, T: 'static>(
        path: &str,
        handler: H,
        summary: &'static str,
    ) -> Self {
        Self::new(Method::DELETE, MethodFilter::DELETE, format!("{API}{path}"), handler, summary)
    }

    /// `GET` of a path elsewhere, for anyone.
    pub(super) fn probe<H: Handler<T, App>, T: 'static>(
        path: &str,
        handler: H,
        summary: &'static str,
    ) -> Self {
        Self::new(Method::GET, MethodFilter::GET, path.to_owned(), handler, summary).open()
    }

    fn new<H: Handler<T, App>, T: 'static>(
        method: Method,
        filter: MethodFilter,
        path: String,
        handler: H,
        summary: &'static str,
    ) -> Self {
        let is_keyed = KEYED.iter().any(|family| {
            path.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        let repeat = match method == Method::GET {
            true => Repeat::Ignored,
            false if is_keyed => Repeat::Required,
            false => Repeat::Accepted,
        };
        Self {
            method,
            path,
            summary,
            access: Access::Token,
            repeat,
            matches: Match::Ignored,
            is_tagged: false,
            takes: None,
            answers: Vec::new(),
            codes: Vec::new(),
            odd_codes: Vec::new(),
            params: Vec::new(),
            needed: Vec::new(),
            schemas: Vec::new(),
            handler: on(filter, handler),
        }
    }

    /// For anyone, also without a token. Then nobody knows whose an
    /// `Idempotency-Key` is, so it is not looked at.
    #[must_use]
    pub(super) fn open(self) -> Self {
        Self { access: Access::Anyone, repeat: Repeat::Ignored, ..self }
    }

    /// For operators.
    #[must_use]
    pub(super) fn admin(self) -> Self {
        Self { access: Access::Admin, repeat: Repeat::Ignored, ..self }
    }

    /// An `Idempotency-Key` is not looked at: what it does can be asked for
    /// again as it was, or its answer is nothing to be kept.
    #[must_use]
    pub(super) fn unkeyed(self) -> Self {
        Self { repeat: Repeat::Ignored, ..self }
    }

    /// Reads such a body.
    #[must_use]
    pub(super) fn takes<T: ToSchema>(mut self) -> Self {
        self.takes = Some((self.schema::<T>(), true));
        self
    }

    /// Reads such a body if there is one.
    #[must_use]
    pub(super) fn may_take<T: ToSchema>(mut self) -> Self {
        self.takes = Some((self.schema::<T>(), false));
        self
    }

    /// Answers so.
    #[must_use]
    pub(super) fn answers<T: ToSchema>(
        mut self,
        status: StatusCode,
        meaning: &'static str,
    ) -> Self {
        let form = Form::Schema(self.schema::<T>());
        self.answers.push(Answer { status, meaning, form });
        self
    }

    /// Answers so, without a body.
    #[must_use]
    pub(super) fn ends(mut self, status: StatusCode, meaning: &'static str) -> Self {
        self.answers.push(Answer { status, meaning, form: Form::None });
        self
    }

    /// Answers 200 with text of this media type, whatever `Accept` says.
    #[must_use]
    pub(super) fn shows(mut self, media_type: &'static str, meaning: &'static str) -> Self {
        let form = Form::Text(media_type);
        self.answers.push(Answer { status: StatusCode::OK, meaning, form });
        self
    }

    /// Fails with these codes, besides those that every route of its kind can
    /// fail with.
    #[must_use]
    pub(super) fn fails(mut self, codes: &[Code]) -> Self {
        self.codes.extend_from_slice(codes);
        self
    }

    /// Fails with this code under another status than its own.
    #[must_use]
    pub(super) fn fails_as(mut self, status: StatusCode, code: Code) -> Self {
        self.odd_codes.push((status, code));
        self
    }

    /// Reads these parameters of the query.
    #[must_use]
    pub(super) fn reads(mut self, params: &[Param]) -> Self {
        self.params.extend_from_slice(params);
        self
    }

    /// Reads these parameters of the query, and refuses a request without one.
    #[must_use]
    pub(super) fn needs(mut self, params: &[Param]) -> Self {
        self.needed.extend_from_slice(params);
        self
    }

    /// What it answers has a version, told by `ETag`; of `GET`, `If-None-Match`
    /// is answered 304.
    #[must_use]
    pub(super) fn tagged(self) -> Self {
        Self { is_tagged: true, ..self }
    }

    /// Changes what has a version: `If-Match` is looked at.
    #[must_use]
    pub(super) fn matched(self, matches: Match) -> Self {
        Self { matches, is_tagged: true, ..self }
    }

    /// Whether every answer of it that is no error has a form of its own.
    pub(super) fn has_own_form(&self) -> bool {
        !self.answers.iter().any(|answer| matches!(answer.form, Form::Schema(_)))
            && self.answers.iter().any(|answer| matches!(answer.form, Form::Text(_)))
    }

    /// Adds it to a router.
    pub(super) fn mount(self, router: Router<App>, app: &App) -> Router<App> {
        let mut handler = self.handler;
        match self.repeat {
            Repeat::Ignored => {}
            Repeat::Accepted => {
                handler = handler.route_layer(from_fn_with_state(app.clone(), repeat::accepted));
            }
            Repeat::Required => {
                handler = handler.route_layer(from_fn_with_state(app.clone(), repeat::required));
            }
        }
        handler = match self.access {
            Access::Token => {
                handler.route_layer(from_fn_with_state(app.clone(), auth::authenticate))
            }
            Access::Admin => handler.route_layer(from_fn_with_state(app.clone(), admin::only)),
            Access::Anyone if self.takes.is_some() => handler.route_layer(from_fn(cors::say_form)),
            Access::Anyone => handler,
        };
        router.route(&self.path, handler)
    }

    /// Keeps a schema and those that it names, and gives its name.
    fn schema<T: ToSchema>(&mut self) -> String {
        let name = T::name().into_owned();
        T::schemas(&mut self.schemas);
        self.schemas.push((name.clone(), <T as PartialSchema>::schema()));
        name
    }
}
