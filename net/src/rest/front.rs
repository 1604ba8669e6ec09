//! `/`: where a person lands who opens the server's address.

use axum::http::header;
use axum::response::IntoResponse;

use super::route::Route;

const PAGE: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>Avvyland</title>
<style>
  :root { color-scheme: light dark }
  body { max-width: 38rem; margin: 4rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif }
  code { font-size: .95em }
  dt { margin-top: .75rem }
</style>
<h1>Avvyland</h1>
<p>This server holds shared 3D worlds, called branes. It speaks CBOR, and JSON
to whoever asks for it.</p>
<dl>
  <dt><code>/ws</code></dt>
  <dd>WebSocket: join a brane, see every change, make your own. <code>protocol/PROTOCOL.md</code></dd>
  <dt><code>/api/v1/brane</code></dt>
  <dd>REST: create, list and read branes, submit edits. Needs a token. <a href=\"/api/v1/docs\">All
    routes</a>, <code>docs/API.md</code></dd>
  <dt><a href=\"/healthz\"><code>/healthz</code></a>, <a href=\"/readyz\"><code>/readyz</code></a>,
    <a href=\"/livez\"><code>/livez</code></a></dt>
  <dd>Whether an edit gets through to everyone and to the disk; whether the server takes
    requests; whether it runs.</dd>
  <dt><a href=\"/metrics\"><code>/metrics</code></a></dt>
  <dd>Figures for Prometheus.</dd>
</dl>
</html>
";

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::probe("/", page, "Where a person lands who opens the server's address.")
            .shows("text/html; charset=utf-8", "A page."),
    ]
}

pub(super) async fn page() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, PAGE)
}
