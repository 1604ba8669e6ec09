//! The servers of the tests themselves.

use avvy_persistence::testing::mongod::{fresh_database, shared};
use mongodb::Client;
use mongodb::bson::{Document, doc};

#[tokio::test]
async fn a_shared_server_takes_a_transaction() {
    let client = Client::with_uri_str(shared()).await.unwrap();
    let things = client.database(&fresh_database()).collection::<Document>("things");
    let mut session = client.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    things.insert_one(doc! {"_id": 1}).session(&mut session).await.unwrap();
    assert_eq!(things.count_documents(doc! {}).await.unwrap(), 0);
    session.commit_transaction().await.unwrap();
    assert_eq!(things.count_documents(doc! {}).await.unwrap(), 1);
}
