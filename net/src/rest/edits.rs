//! `POST /api/v1/brane/{id}/edits`: edits as on the WebSocket.

use avvy_actors::{WriteRequest, Written};
use avvy_auth::Claims;
use avvy_model::{BraneId, Code, Refusal};
use avvy_protocol::RefusedEdit;
use avvy_protocol::codec::DecodeLimits;
use avvy_protocol::rest::{EditOutcome, EditResult, SubmitEdits, SubmitResponse, decode_submit};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::auth::Caller;
use super::body::{BraneOf, Payload};
use super::edge::{Arrival, take_requests};
use super::route::{ASKING_A_BRANE, Route};
use super::{App, Failure};

/// Edits have numbers of their own by which they are done once.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/brane/{id}/edits", submit, "Applies edits, and waits until they last.")
            .unkeyed()
            .takes::<SubmitEdits>()
            .answers::<SubmitResponse>(StatusCode::OK, "What became of each.")
            .fails(ASKING_A_BRANE)
            .fails(&[Code::ClientTaken, Code::ClientUnknown]),
    ]
}

async fn submit(
    State(app): State<App>,
    Caller(claims): Caller,
    arrival: Arrival,
    BraneOf(brane): BraneOf,
    payload: Payload,
) -> Result<Response, Failure> {
    let submitted = read(&app, &payload)?;
    write(&app, &claims, &arrival, brane, submitted).await
}

/// The edits of a body.
///
/// # Errors
/// `too_large`, `malformed`.
pub(super) fn read(app: &App, payload: &Payload) -> Result<SubmitEdits, Failure> {
    let limits = DecodeLimits {
        max_message_bytes: app.config.max_body_bytes,
        ..*app.system.decode_limits()
    };
    Ok(decode_submit(&payload.bytes, payload.format, &limits)?)
}

/// Answers when every edit has its outcome and those that were applied are
/// durable. Each operation after the first counts as a request of its own in
/// the address's rate, or REST would be a way around the rate of sessions.
pub(super) async fn write(
    app: &App,
    claims: &Claims,
    arrival: &Arrival,
    brane: BraneId,
    submitted: SubmitEdits,
) -> Result<Response, Failure> {
    let cost = submitted.edits.iter().map(|edit| u64::from(edit.edit.cost())).sum::<u64>();
    let count = cost + submitted.refused.len() as u64;
    if count == 0 {
        return Err(Failure::new(Code::Malformed).details("edits: at least one"));
    }
    take_requests(app, arrival, count - 1)?;
    app.system.account(claims).take_edits(count)?;
    if submitted.edits.is_empty() {
        let view = app.system.view(brane, claims).await?;
        let epoch = view.at.epoch;
        let written = Written { epoch, outcomes: Vec::new(), durable: view.durable };
        return Ok(arrival.reply(StatusCode::OK, &response(written, submitted.refused)));
    }
    let trace = submitted.trace.unwrap_or(arrival.trace);
    let request = WriteRequest {
        client: submitted.client,
        known: submitted.known,
        edits: submitted.edits,
        trace,
    };
    let written = app.system.write(brane, claims, request).await?;
    Ok(arrival.reply(StatusCode::OK, &response(written, submitted.refused)))
}

/// All outcomes, by number.
fn response(written: Written, unread: Vec<RefusedEdit>) -> SubmitResponse {
    let durable = written.durable;
    let mut all_durable = true;
    let mut outcomes: Vec<EditOutcome> = Vec::with_capacity(written.outcomes.len() + unread.len());
    for (counter, result) in written.outcomes {
        let result = match result {
            Ok(seq) => {
                all_durable &= seq <= durable;
                EditResult::Applied(seq)
            }
            Err(refusal) => EditResult::Refused(refusal),
        };
        outcomes.push(EditOutcome { counter, result });
    }
    outcomes.extend(unread.into_iter().map(|RefusedEdit { counter, code, operation }| {
        EditOutcome { counter, result: EditResult::Refused(Refusal { code, operation }) }
    }));
    // Stable: a number that came twice keeps its two answers in order.
    outcomes.sort_by_key(|outcome| outcome.counter);
    SubmitResponse { epoch: written.epoch, durable: all_durable, outcomes }
}

#[cfg(test)]
mod tests {
    use avvy_model::{Counter, Epoch, Seq};

    use super::*;

    #[test]
    fn outcomes_come_in_the_order_of_their_numbers() {
        let refusal = Refusal { code: Code::Cycle, operation: None };
        let written = Written {
            epoch: Epoch(3),
            outcomes: vec![
                (Counter(1), Ok(Seq(8))),
                (Counter(3), Err(refusal)),
                (Counter(4), Ok(Seq(9))),
            ],
            durable: Seq(9),
        };
        let unread =
            RefusedEdit { counter: Counter(2), code: Code::OutOfRange, operation: Some(1) };
        let answer = response(written.clone(), vec![unread]);
        let numbers: Vec<u64> = answer.outcomes.iter().map(|outcome| outcome.counter.0).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
        assert_eq!(answer.outcomes[2].result, EditResult::Refused(refusal));
        assert!(answer.durable);
        assert!(!response(Written { durable: Seq(8), ..written }, Vec::new()).durable);
    }
}
