//! One test for each case of a table, by the case's number; the table's `run` plays it.

macro_rules! each_case {
    (on $threads:tt threads; $($number:tt $test:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = $threads)]
        async fn $test() {
            run($number).await;
        }
    )*};
}
pub(crate) use each_case;
