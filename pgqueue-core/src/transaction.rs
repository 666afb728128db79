//! Transactions on an async connection, begun and ended by hand.
//!
//! Diesel's own take a closure, and Rust before 1.92 cannot see that the future of one that borrows any connection is `Send`.

use diesel::pg::Pg;
use diesel::result::{Error as DieselError, QueryResult};
use diesel_async::{AsyncConnection, TransactionManager as _};

/// Begins a transaction, or a savepoint inside of one.
pub(crate) async fn begin<C>(conn: &mut C) -> QueryResult<()>
where
    C: AsyncConnection<Backend = Pg>,
{
    C::TransactionManager::begin_transaction(conn).await
}

/// Commits what has succeeded, and rolls back what has not.
pub(crate) async fn end<C, T>(conn: &mut C, done: QueryResult<T>) -> QueryResult<T>
where
    C: AsyncConnection<Backend = Pg>,
{
    match done {
        Ok(value) => {
            C::TransactionManager::commit_transaction(conn).await?;
            Ok(value)
        }
        Err(error) => match C::TransactionManager::rollback_transaction(conn).await {
            Ok(()) | Err(DieselError::BrokenTransactionManager) => Err(error),
            Err(another) => Err(another),
        },
    }
}
