//! Bodies of requests and answers. The first byte of an input says which.

use avvy_protocol::codec::DecodeLimits;
use avvy_protocol::rest::{self, Format};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{after, api};

type Read = fn(&[u8], Format);

macro_rules! same {
    ($($body:ident)*) => { [$((stringify!($body), same::<rest::$body> as Read)),*] };
}

/// What of them is edits, which are read one by one.
const EDITS: [(&str, Read); 1] = [("SubmitEdits", edits)];

/// By their numbers, after those. New ones come last, as corpora go by these.
const OTHERS: [(&str, Read); 51] = same! {
    CreateBrane PatchBrane ArchiveBrane DuplicateBrane CreatePortal RevokeTokens
    AskChallenge SignedBody DevelopmentSignIn TicketBody RefreshBody
    CreateObject PatchObject TakeObject PlaceObject PutIntoGallery Publish
    CreatePrototype PatchPrototype PlacePrototype Deprecate UpdateInstances PatchMe
    BraneBody BranePage ObjectPage PortalPage NewPortalBody WayBody RightsBody RulingPage
    OwnObjectBody PrototypeBody ThingPage MovedBody InstanceBody FollowedBody OffersBody
    UserBody UsageBody AccountsBody ChallengeBody ProvidersBody SignInsBody TokensBody
    WalletsBody RevokedBody StatusBody HealthBody SubmitResponse ErrorMessageResponse
};

fn all() -> impl Iterator<Item = &'static (&'static str, Read)> {
    EDITS.iter().chain(&OTHERS)
}

/// Bodies in CBOR.
pub fn cbor(bytes: &[u8]) {
    body(bytes, Format::Cbor);
}

/// Bodies in JSON.
pub fn json(bytes: &[u8]) {
    body(bytes, Format::Json);
}

fn body(bytes: &[u8], format: Format) {
    let Some((number, bytes)) = bytes.split_first() else { return };
    if let Some((_, read)) = all().nth(usize::from(*number)) {
        read(bytes, format);
    }
}

fn edits(bytes: &[u8], format: Format) {
    let limits = DecodeLimits::default();
    if let Ok(submitted) = rest::decode_submit(bytes, format, &limits) {
        assert!(submitted.edits.len() + submitted.refused.len() <= limits.max_edits);
    }
}

fn same<T: Serialize + DeserializeOwned>(bytes: &[u8], format: Format) {
    let max_bytes = DecodeLimits::default().max_message_bytes;
    let read = |bytes: &[u8]| rest::decode::<T>(bytes, format, max_bytes);
    let Ok(body) = read(bytes) else { return };
    let written = rest::encode(&body, format);
    let again = read(&written).expect("what is written can be read");
    assert_eq!(rest::encode(&again, format), written);
}

/// The example of every body, in CBOR.
pub fn cbor_seeds() -> Vec<Vec<u8>> {
    seeds(Format::Cbor)
}

/// The same in JSON.
pub fn json_seeds() -> Vec<Vec<u8>> {
    seeds(Format::Json)
}

fn seeds(format: Format) -> Vec<Vec<u8>> {
    let operations = api::operations();
    let bodies = operations.iter().flat_map(api::Operation::bodies);
    let seed = |(schema, example): (&str, &serde_json::Value)| {
        let number = all().position(|(name, _)| *name == schema);
        let number = number.unwrap_or_else(|| panic!("{schema} is not among the bodies"));
        let written = match format {
            Format::Json => example.to_string().into_bytes(),
            Format::Cbor => {
                let example = avvy_protocol::json::to_cbor(example).expect("it is of a body");
                rest::encode(&example, Format::Cbor)
            }
        };
        after(number as u8, &written)
    };
    let mut seeds: Vec<_> = bodies.map(seed).collect();
    seeds.sort();
    seeds.dedup();
    seeds
}
