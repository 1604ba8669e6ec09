//! What a server must refuse, and how.

use avvy_protocol::DecodeLimits;
use avvy_protocol::codec::decode_client;
use serde_json::json;

use super::check;

#[test]
fn refused_messages() {
    let mut vectors = Vec::new();
    for (name, hex) in bad() {
        let error = decode_client(&bytes(&hex), &DecodeLimits::default()).unwrap_err();
        let mut vector = json!({ "name": name, "hex": hex });
        match &error.partial {
            None => vector["error"] = error.code.name().into(),
            Some(partial) => {
                let refused = partial.refused.iter();
                vector["refused"] =
                    refused.map(|r| json!([r.counter.0, r.code.name(), r.operation])).collect();
                let served = partial.update.edits.iter();
                vector["served"] = served.map(|e| e.counter.0).collect();
            }
        }
        vectors.push(vector);
    }
    let about = "Messages of a client that a server must not take. `error`: the code of the \
                 `error` that answers the message; `refused`: [number, code, operation in a \
                 batch] of edits that are refused, while those of `served` are served.";
    check("invalid.json", about, vectors);
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    pairs.map(|p| u8::from_str_radix(std::str::from_utf8(p).unwrap(), 16).unwrap()).collect()
}

fn text(text: &str) -> String {
    format!("{:02x}{}", 0x60 + text.len(), super::hex(text.as_bytes()))
}

fn update(edits: &[String]) -> String {
    let (ch, op, update, list) = (text("ch"), text("op"), text("object.update"), text("edits"));
    format!("a3{ch}01{op}{update}{list}{:02x}{}", 0x80 + edits.len(), edits.concat())
}

fn bad() -> Vec<(&'static str, String)> {
    let op = text("op");
    let edit = |name: &str, fields: usize, rest: &str| {
        format!("{:02x}{}05{op}{}{rest}", 0xa2 + fields, text("n"), text(name))
    };
    let good = edit("delete", 2, &format!("{}09{}{}", text("t"), text("mode"), text("subtree")));
    let shift =
        |record: &str| edit("move", 1, &format!("616d{:02x}{record}", 0x40 + record.len() / 2));
    let signal = |rest: &str, fields: usize| {
        format!("{:02x}{}01{op}{}{rest}", 0xa2 + fields, text("ch"), text("signal.send"))
    };
    let (to, kind, body) = (text("to"), text("kind"), text("body"));
    let pose = |bytes: &str| {
        let (ch, name, pose) = (text("ch"), text("presence.pose"), text("pose"));
        format!("a3{ch}01{op}{name}{pose}{:02x}{bytes}", 0x40 + bytes.len() / 2)
    };
    vec![
        ("nothing", String::new()),
        ("not a map", "80".to_owned()),
        ("no op", "a0".to_owned()),
        ("unknown op", format!("a1{op}{}", text("object.fly"))),
        ("cut short", format!("a2{op}{}", text("ping"))),
        ("bytes after the message", format!("a2{op}{}{}0000", text("ping"), text("nonce"))),
        ("a field missing", format!("a1{op}{}", text("ping"))),
        ("a length that lies", format!("a2{op}{}6178bbffffffffffffffff", text("ping"))),
        (
            "an id in another form",
            format!(
                "a3{op}{}{}{}{}00",
                text("brane.join"),
                text("brane"),
                text("123"),
                text("client")
            ),
        ),
        ("an edit without a number", update(&[format!("a1{op}{}", text("move"))])),
        ("an unknown operation of an edit", update(&[edit("fly", 0, "")])),
        ("a record that ends too early", update(&[shift("0100000003")])),
        ("a record that sets nothing", update(&[shift("0100000000")])),
        ("a rotation out of range", update(&[shift("0100000002ffffffffffff")])),
        ("a scale of zero", update(&[shift("0100000004000000000000803f0000803f")])),
        (
            "undefined as a value",
            update(&[edit("update", 2, &format!("{}09{}a1616bf7", text("t"), text("set")))]),
        ),
        ("a pose that is too short", pose(&"00".repeat(17))),
        (
            "a pose whose rotation is out of range",
            pose(&format!("{}ffffffffffff", "00".repeat(12))),
        ),
        ("a signal to nobody", signal(&format!("{kind}{}", text("wave")), 1)),
        (
            "a signal to an unknown audience",
            signal(&format!("{to}{}{kind}{}", text("some"), text("wave")), 2),
        ),
        ("a signal of no kind", signal(&format!("{to}{}{kind}60", text("all")), 2)),
        (
            "a signal of a long kind",
            signal(&format!("{to}{}{kind}7821{}", text("all"), "61".repeat(33)), 2),
        ),
        (
            "a signal with undefined for a body",
            signal(&format!("{to}{}{body}f7{kind}{}", text("all"), text("wave")), 3),
        ),
        (
            "a signal with a large body",
            signal(
                &format!(
                    "{to}{}{body}590401{}{kind}{}",
                    text("all"),
                    "00".repeat(1_025),
                    text("wave")
                ),
                3,
            ),
        ),
        (
            "a fault in a batch, beside a good edit",
            update(&[
                good.replacen("616e05", "616e04", 1),
                edit("batch", 1, &format!("{}82{}a0", text("ops"), &good)),
            ]),
        ),
    ]
}
