//! The document as a page: no script, nothing fetched.

use std::fmt::Write;

use serde_json::Value as Json;

const HEAD: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>Avvyland: the REST API</title>
<style>
  :root { color-scheme: light dark }
  body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif }
  code, pre { font-size: .9em }
  pre { overflow: auto; padding: .5rem; border: 1px solid #8884; border-radius: .3rem }
  summary { cursor: pointer; padding: .2rem 0 }
  summary b { display: inline-block; min-width: 4.5rem }
  details details { margin-left: 1rem }
  table { border-collapse: collapse } td { padding: .1rem .8rem .1rem 0; vertical-align: top }
</style>
<h1>Avvyland: the REST API</h1>
";

/// The page of a document.
pub(super) fn of(document: &Json) -> String {
    let mut page = HEAD.to_owned();
    paragraph(&mut page, &document["info"]["description"]);
    page += "<p><a href=\"openapi.json\">openapi.json</a></p>\n";
    let paths = document["paths"].as_object().into_iter().flatten();
    let operations = paths.flat_map(|(path, methods)| {
        methods.as_object().into_iter().flatten().map(move |(method, told)| (path, method, told))
    });
    let mut operations: Vec<_> = operations.collect();
    operations.sort_by_key(|(path, _, told)| (text(&told["tags"][0]), *path));
    let mut family = "";
    for (path, method, told) in operations {
        if text(&told["tags"][0]) != family {
            family = text(&told["tags"][0]);
            tag(&mut page, "h2", family);
        }
        operation(&mut page, path, method, told);
    }
    page += "<h2>Bodies</h2>\n";
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        tag(&mut page, "h3", name);
        paragraph(&mut page, &schema["description"]);
        code(&mut page, schema);
    }
    page + "</html>\n"
}

fn operation(page: &mut String, path: &str, method: &str, told: &Json) {
    *page += "<details><summary><b>";
    escape(page, &method.to_uppercase());
    *page += "</b> <code>";
    escape(page, path);
    *page += "</code> ";
    prose(page, text(&told["summary"]));
    *page += "</summary>\n<table>\n";
    for parameter in told["parameters"].as_array().into_iter().flatten() {
        let name = format!("{} {}", text(&parameter["in"]), text(&parameter["name"]));
        let needed = if parameter["required"] == true { "Required. " } else { "" };
        row(page, &name, &format!("{needed}{}", text(&parameter["description"])));
    }
    for (status, response) in told["responses"].as_object().into_iter().flatten() {
        let shared = text(&response["$ref"]).rsplit('/').next().unwrap_or_default();
        row(page, status, &format!("{}{shared}", text(&response["description"])));
    }
    *page += "</table>\n";
    body(page, "It takes", &told["requestBody"]["content"]);
    for (status, response) in told["responses"].as_object().into_iter().flatten() {
        if status.starts_with('2') {
            body(page, &format!("It answers {status}"), &response["content"]);
        }
    }
    *page += "</details>\n";
}

fn body(page: &mut String, title: &str, content: &Json) {
    let media = &content["application/json"];
    if media.get("example").is_none() {
        return;
    }
    let schema = text(&media["schema"]["$ref"]).rsplit('/').next().unwrap_or_default();
    *page += "<p>";
    escape(page, &format!("{title} {schema}:"));
    *page += "</p>\n";
    code(page, &media["example"]);
}

fn row(page: &mut String, name: &str, told: &str) {
    *page += "<tr><td><code>";
    escape(page, name);
    *page += "</code><td>";
    prose(page, told);
    *page += "\n";
}

fn tag(page: &mut String, name: &str, content: &str) {
    // Writing to a string cannot fail.
    let _ = write!(page, "<{name}>");
    escape(page, content);
    let _ = writeln!(page, "</{name}>");
}

fn paragraph(page: &mut String, content: &Json) {
    if content.is_string() {
        *page += "<p>";
        prose(page, text(content));
        *page += "</p>\n";
    }
}

fn code(page: &mut String, json: &Json) {
    tag(page, "pre", &format!("{json:#}"));
}

fn text(json: &Json) -> &str {
    json.as_str().unwrap_or_default()
}

/// Text with `words` in backticks.
fn prose(page: &mut String, content: &str) {
    let mut rest = content;
    while let Some((before, word, after)) = next_word(rest) {
        escape(page, before);
        *page += "<code>";
        escape(page, word);
        *page += "</code>";
        rest = after;
    }
    escape(page, rest);
}

fn next_word(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('`')?;
    let (word, after) = rest.split_once('`')?;
    Some((before, word, after))
}

fn escape(page: &mut String, content: &str) {
    for c in content.chars() {
        match c {
            '<' => *page += "&lt;",
            '>' => *page += "&gt;",
            '&' => *page += "&amp;",
            '"' => *page += "&quot;",
            c => page.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_told_becomes_markup() {
        let told = json!({"tags": ["<b>"], "summary": "\"&<script>", "responses": {}});
        let page = of(&json!({"paths": {"/<i>": {"get": told}}}));
        assert!(page.contains("&quot;&amp;&lt;script&gt;") && page.contains("/&lt;i&gt;"));
        assert!(!page.contains("<script>") && !page.contains("<i>"));
    }

    #[test]
    fn words_in_backticks_are_code() {
        let page = of(&json!({"info": {"description": "`a<b` and `c`, but ` alone"}}));
        assert!(page.contains("<p><code>a&lt;b</code> and <code>c</code>, but ` alone</p>"));
    }
}
