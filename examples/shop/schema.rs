//! The shop's tables as Diesel sees them. Its jobs are in the same database, so that queries join both.

diesel::table! {
    products (sku) {
        sku -> Text,
        name -> Text,
        price_cents -> BigInt,
        stock -> BigInt,
    }
}

diesel::table! {
    imports (id) {
        id -> BigInt,
        file -> Text,
        started_at -> Timestamptz,
        finished_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    orders (id) {
        id -> BigInt,
        import_id -> Nullable<BigInt>,
        customer -> Text,
        email -> Text,
        postcode -> Text,
        placed_at -> Timestamptz,
    }
}

diesel::table! {
    order_lines (order_id, position) {
        order_id -> BigInt,
        position -> Integer,
        sku -> Text,
        quantity -> Integer,
        price_cents -> BigInt,
    }
}

diesel::table! {
    order_jobs (job_id) {
        job_id -> BigInt,
        order_id -> BigInt,
    }
}

diesel::joinable!(order_lines -> orders (order_id));
diesel::joinable!(order_lines -> products (sku));
diesel::joinable!(order_jobs -> orders (order_id));
diesel::allow_tables_to_appear_in_same_query!(products, orders, order_lines, order_jobs);
pgqueue_core::allow_pgqueue_jobs_to_appear_in_same_query!(orders, order_jobs);
