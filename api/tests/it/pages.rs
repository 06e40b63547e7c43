//! Pages for people.

use axum::body::Body;
use axum::http::Request;

use crate::house::House;

#[tokio::test]
async fn swagger_ui_is_all_here() {
    let house = House::new().await;
    for at in ["/docs", "/api/docs"] {
        let redirect = house.get(at).await;
        assert_eq!(redirect.status, 307);
        assert_eq!(redirect.header("location"), format!("{at}/"));
        let page = house.get(&format!("{at}/")).await;
        assert_eq!(page.status, 200);
        assert!(page.header("content-type").starts_with("text/html"));
        let html = page.text();
        let files: Vec<&str> = ["href=\"", "src=\""]
            .iter()
            .flat_map(|mark| html.split(mark).skip(1))
            .filter_map(|rest| rest.split('"').next())
            .collect();
        assert!(files.len() >= 4, "{files:?}");
        for file in files {
            assert!(!file.contains("//"), "{file} is elsewhere");
            let got = house.get(&format!("{at}/{}", file.trim_start_matches("./"))).await;
            assert_eq!(got.status, 200, "{file}");
            assert!(!got.body.is_empty(), "{file}");
        }
        let start = house.get(&format!("{at}/swagger-initializer.js")).await.text();
        assert!(start.contains("/openapi.json"), "{start}");
    }
    house.get("/docs/nothing.js").await.problem(404, "not_found");
    house.get("/docs/..%2f..%2fetc%2fpasswd").await.problem(404, "not_found");
}

#[tokio::test]
async fn the_reference_and_the_index_lead_to_what_exists() {
    let house = House::new().await;
    let reference = house.get("/api/redoc").await;
    assert!(reference.header("content-type").starts_with("text/html"));
    assert!(reference.text().contains("submit_deployment"));
    let index = house.get("/").await.ok(200);
    for (name, link) in index["links"].as_object().unwrap() {
        let link = link.as_str().unwrap();
        let answer = house.get(link).await;
        // MCP has no plain GET; that it answers at all is enough.
        let fine = answer.status.is_success() || answer.status.is_redirection() || name == "mcp";
        assert!(fine && answer.status != 404, "{name}: {}", answer.status);
    }
}

#[tokio::test]
async fn a_problem_leads_to_its_page() {
    let house = House::new().await;
    let problem = house.get("/api/v1/nothing").await.json();
    let page = house.get(problem["type"].as_str().unwrap()).await;
    assert!(page.header("content-type").starts_with("text/plain"));
    assert!(page.text().contains("code: not_found"), "{}", page.text());
}

#[tokio::test]
async fn mcp_is_behind_the_same_door() {
    let house = House::new().await;
    let request = Request::post("/mcp").header("host", "evil.example").body(Body::empty()).unwrap();
    house.send(request).await.problem(421, "misdirected_request");
    let answer = house.send(Request::post("/mcp").body(Body::empty()).unwrap()).await;
    assert!(answer.header("x-request-id").starts_with("req_"), "{answer:?}");
    assert_ne!(answer.status, 404);
}
