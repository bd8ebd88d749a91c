use futures_util::StreamExt;

use super::*;

#[tokio::test]
async fn a_peer_of_another_user_is_hung_up_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("xds.sock");
    let us = nix::unistd::geteuid().as_raw();

    let mut ours = std::pin::pin!(accept(UnixListener::bind(&path).unwrap(), us));
    let _client = UnixStream::connect(&path).await.unwrap();
    ours.next().await.unwrap().unwrap();

    std::fs::remove_file(&path).unwrap();
    let mut others = std::pin::pin!(accept(UnixListener::bind(&path).unwrap(), us + 1));
    let client = UnixStream::connect(&path).await.unwrap();
    let hung_up = async {
        client.readable().await.unwrap();
        client.try_read(&mut [0; 1])
    };
    tokio::select! {
        _ = others.next() => panic!("accepted"),
        read = hung_up => assert_eq!(read.unwrap(), 0),
    }
}
