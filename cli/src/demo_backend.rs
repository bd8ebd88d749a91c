//! A petstore to put behind the gateway: enough of the well-known API to try every operation of `examples/petstore`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::output;
use crate::stop;

#[derive(Clone, Default)]
struct Store(Arc<Mutex<Tables>>);

#[derive(Default)]
struct Tables {
    pets: BTreeMap<u64, Value>,
    orders: BTreeMap<u64, Value>,
}

/// Serves until it is stopped.
pub async fn serve(listen: SocketAddr) -> anyhow::Result<()> {
    let store = Store::default();
    store.with(|tables| {
        for (id, name, status) in [(1, "Rex", "available"), (2, "Tom", "pending"), (3, "Bo", "sold")] {
            tables.pets.insert(id, json!({ "id": id, "name": name, "status": status, "photoUrls": [], "tags": [] }));
        }
    });
    let app = Router::new()
        .route("/v2/pet", post(add_pet).put(add_pet))
        .route("/v2/pet/findByStatus", get(find_by_status))
        .route("/v2/pet/{id}", get(get_pet).post(update_pet).delete(delete_pet))
        .route("/v2/store/inventory", get(inventory))
        .route("/v2/store/order", post(place_order))
        .route("/v2/store/order/{id}", get(get_order).delete(delete_order))
        .fallback(|| async { missing("no such resource") })
        .with_state(store);
    let listener =
        tokio::net::TcpListener::bind(listen).await.with_context(|| format!("cannot listen on `{listen}`"))?;
    output::line(&format!("petstore on http://{}/v2", listener.local_addr()?));
    axum::serve(listener, app).with_graceful_shutdown(stop::told()?).await.context("the petstore stopped")
}

// === impl Store ===

impl Store {
    fn with<T>(&self, act: impl FnOnce(&mut Tables) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn add_pet(State(store): State<Store>, Json(mut pet): Json<Value>) -> Response {
    store.with(|tables| {
        let next = tables.pets.keys().last().map_or(1, |last| last + 1);
        let id = pet.get("id").and_then(Value::as_u64).filter(|id| *id > 0).unwrap_or(next);
        let Some(fields) = pet.as_object_mut() else {
            return (StatusCode::BAD_REQUEST, Json(json!({ "message": "a pet is an object" }))).into_response();
        };
        fields.insert("id".to_owned(), id.into());
        tables.pets.insert(id, pet.clone());
        Json(pet).into_response()
    })
}

async fn find_by_status(State(store): State<Store>, Query(query): Query<BTreeMap<String, String>>) -> Json<Value> {
    let wanted = query.get("status").cloned().unwrap_or_default();
    store.with(|tables| {
        let found = tables.pets.values().filter(|pet| wanted.split(',').any(|status| pet["status"] == status));
        Json(found.cloned().collect())
    })
}

async fn get_pet(State(store): State<Store>, Path(id): Path<u64>) -> Response {
    found(store.with(|tables| tables.pets.get(&id).cloned()))
}

async fn update_pet(
    State(store): State<Store>,
    Path(id): Path<u64>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    found(store.with(|tables| {
        let pet = tables.pets.get_mut(&id)?;
        for field in ["name", "status"] {
            if let (Some(value), Some(pet)) = (query.get(field), pet.as_object_mut()) {
                pet.insert(field.to_owned(), value.as_str().into());
            }
        }
        Some(pet.clone())
    }))
}

async fn delete_pet(State(store): State<Store>, Path(id): Path<u64>) -> Response {
    found(store.with(|tables| tables.pets.remove(&id)))
}

async fn inventory(State(store): State<Store>) -> Json<Value> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    store.with(|tables| {
        for pet in tables.pets.values() {
            *counts.entry(pet["status"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
    });
    Json(json!(counts))
}

async fn place_order(State(store): State<Store>, Json(mut order): Json<Value>) -> Json<Value> {
    store.with(|tables| {
        let id = tables.orders.keys().last().map_or(1, |last| last + 1);
        if let Some(fields) = order.as_object_mut() {
            fields.insert("id".to_owned(), id.into());
        }
        tables.orders.insert(id, order.clone());
        Json(order)
    })
}

async fn get_order(State(store): State<Store>, Path(id): Path<u64>) -> Response {
    found(store.with(|tables| tables.orders.get(&id).cloned()))
}

async fn delete_order(State(store): State<Store>, Path(id): Path<u64>) -> Response {
    found(store.with(|tables| tables.orders.remove(&id)))
}

fn found(value: Option<Value>) -> Response {
    value.map_or_else(|| missing("not found"), |value| Json(value).into_response())
}

fn missing(message: &str) -> Response {
    (StatusCode::NOT_FOUND, Json(json!({ "message": message }))).into_response()
}
