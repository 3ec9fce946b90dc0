//! The OpenAPI document and the server say the same, of the routes of both halves.

use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};

use crate::harness::{Answer, Server, request};

/// Asks as the example of a route says.
fn ask(server: &Server, method: &str, path: &str, operation: &Value, id: &str) -> Answer {
    let mut query = Vec::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let name = parameter["name"].as_str().unwrap();
        if let Some(example) = parameter["example"].as_str()
            && parameter["in"].as_str() == Some("query")
        {
            query.push(format!("{name}={example}"));
        }
    }
    let mut target = path.replace("{id}", id);
    if !query.is_empty() {
        target = format!("{target}?{}", query.join("&"));
    }
    let content = &operation["requestBody"]["content"];
    let Some((kind, media)) = content.as_object().and_then(|content| content.iter().next()) else {
        return server.connect().ask(&request(method, &target, &[], b""));
    };
    let example = &media["example"];
    let body = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
    server.connect().ask(&request(method, &target, &[("Content-Type", kind)], body.as_bytes()))
}

/// Whether the document tells of such an answer.
#[track_caller]
fn check(answer: &Answer, operation: &Value, what: &str) {
    let told = &operation["responses"][answer.status.to_string().as_str()];
    assert!(told.is_object(), "{what}: {} is not documented: {}", answer.status, answer.text());
    let kind = answer.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default().to_owned();
    if let Some(content) = told["content"].as_object() {
        assert!(content.contains_key(&kind), "{what}: {} is {kind}", answer.status);
    }
}

#[test]
fn every_route_answers_as_its_example_says() {
    let server = Server::start();
    let stored = server.post("/data/", "application/json", r#"{"level": "ERROR", "message": "hello"}"#);
    let id = stored.json()["id"].as_str().unwrap().to_owned();
    let document = server.get("/api/openapi.json").json();
    let mut routes = 0;
    for (path, item) in document["paths"].as_object().unwrap().iter() {
        for (method, operation) in item.as_object().unwrap().iter() {
            routes += 1;
            let method = method.to_ascii_uppercase();
            let what = format!("{method} {path}");
            let answer = ask(&server, &method, path, operation, &id);
            check(&answer, operation, &what);
            let good = answer.status < 300 || (path == "/ws/logs" && answer.status == 426);
            assert!(good, "{what}: {} {}", answer.status, answer.text());
            // The other spelling of the same route.
            let other = if path == "/" { path.to_owned() } else { format!("{}/", path.trim_end_matches('/')) };
            let other = if other == path { path.trim_end_matches('/').to_owned() } else { other };
            if !other.is_empty() {
                let spelled = ask(&server, &method, &other, operation, &id);
                assert_eq!(spelled.status, answer.status, "{method} {other}");
            }
        }
    }
    assert_eq!(routes, 21);
}

#[test]
fn broken_requests_are_answered_as_documented() {
    let server = Server::start();
    let document = server.get("/api/openapi.json").json();
    for (path, item) in document["paths"].as_object().unwrap().iter() {
        for (method, operation) in item.as_object().unwrap().iter() {
            let method = method.to_ascii_uppercase();
            let target = path.replace("{id}", "not-an-id");
            for (query, body, kind) in [
                ("?colour=red", "{\"message\":", "application/json"),
                ("?q=(", "", "application/json"),
                ("?limit=x&before=x&field=x&interval=x&format=x", "[]", "application/json"),
                ("?level=LOUD", "x", "image/png"),
                ("?from=noon&cursor=x", "{}", "application/x-ndjson"),
            ] {
                let asked = request(&method, &format!("{target}{query}"), &[("Content-Type", kind)], body.as_bytes());
                let answer = server.connect().ask(&asked);
                check(&answer, operation, &format!("{method} {target}{query} {body:?} as {kind}"));
                assert!(answer.status < 500, "{target}{query}: {answer:?}");
            }
        }
    }
}

#[test]
fn schemathesis_finds_no_undocumented_answer() {
    let server = Server::start();
    let document = format!("http://{}/api/openapi.json", server.address);
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
                  unsupported_method";
    // A WebSocket is no business of its, and of the examples it cannot send NDJSON: the test above does.
    let arguments = ["run", &document, "--exclude-path", "/ws/logs", "--phases", "coverage,fuzzing"];
    let limits = ["--max-examples", "15", "--request-timeout", "20", "--checks", checks];
    let schemathesis = crate::python::python().with_file_name("schemathesis");
    // It keeps what it has learned beside where it runs.
    let folder = server.data.parent().expect("a folder");
    let mut command = std::process::Command::new(schemathesis);
    let out = command.current_dir(folder).args(arguments).args(limits).output().expect("schemathesis");
    assert!(out.status.success(), "{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
}
