-- Creates the shop's own tables: what it sells, what was ordered, and which jobs an order has.

CREATE TABLE products (
    sku text NOT NULL,
    name text NOT NULL,
    price_cents bigint NOT NULL,
    stock bigint NOT NULL,
    CONSTRAINT products_pkey PRIMARY KEY (sku),
    CONSTRAINT products_price_positive CHECK (price_cents > 0)
);

CREATE TABLE imports (
    id bigint GENERATED ALWAYS AS IDENTITY,
    file text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT imports_pkey PRIMARY KEY (id)
);

CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY,
    import_id bigint,
    customer text NOT NULL,
    email text NOT NULL,
    postcode text NOT NULL,
    placed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT orders_pkey PRIMARY KEY (id),
    CONSTRAINT orders_import_fkey FOREIGN KEY (import_id) REFERENCES imports (id)
);
CREATE INDEX orders_import ON orders (import_id) WHERE import_id IS NOT NULL;

CREATE TABLE order_lines (
    order_id bigint NOT NULL,
    position integer NOT NULL,
    sku text NOT NULL,
    quantity integer NOT NULL,
    price_cents bigint NOT NULL,
    CONSTRAINT order_lines_pkey PRIMARY KEY (order_id, position),
    CONSTRAINT order_lines_order_fkey FOREIGN KEY (order_id) REFERENCES orders (id),
    CONSTRAINT order_lines_sku_fkey FOREIGN KEY (sku) REFERENCES products (sku),
    CONSTRAINT order_lines_quantity_positive CHECK (quantity > 0)
);

-- No foreign key to pgqueue_jobs: retention removes a completed job, and the order stays.
CREATE TABLE order_jobs (
    job_id bigint NOT NULL,
    order_id bigint NOT NULL,
    CONSTRAINT order_jobs_pkey PRIMARY KEY (job_id),
    CONSTRAINT order_jobs_order_fkey FOREIGN KEY (order_id) REFERENCES orders (id)
);
CREATE INDEX order_jobs_order ON order_jobs (order_id);

COMMENT ON COLUMN orders.import_id IS 'the import that read the order from a file; null: it came by POST /orders';
COMMENT ON COLUMN order_lines.price_cents IS 'of one piece, when it was ordered';

INSERT INTO products (sku, name, price_cents, stock)
VALUES
    ('TEA-001', 'Assam, 250 g', 890, 296),
    ('TEA-002', 'Darjeeling First Flush, 100 g', 1250, 780),
    ('TEA-003', 'Earl Grey, 250 g', 790, 1264),
    ('TEA-004', 'Sencha, 100 g', 980, 440),
    ('TEA-005', 'Rooibos, 250 g', 650, 925),
    ('TEA-006', 'Ostfriesenmischung, 500 g', 1390, 715),
    ('COF-001', 'Espresso beans, 1 kg', 2190, 145),
    ('COF-002', 'Filter coffee, ground, 500 g', 990, 1189),
    ('COF-003', 'Decaf beans, 500 g', 1190, 132),
    ('COF-004', 'Ethiopia Yirgacheffe, 250 g', 1050, 111),
    ('CUP-001', 'Cup, white, 0.2 l', 690, 307),
    ('CUP-002', 'Cup, blue, 0.2 l', 690, 353),
    ('CUP-003', 'Mug, stoneware, 0.4 l', 1290, 154),
    ('CUP-004', 'Espresso cups, set of 4', 2490, 399),
    ('CUP-005', 'Glass, double wall, 0.3 l', 1490, 150),
    ('POT-001', 'Teapot, glass, 1.2 l', 3490, 436),
    ('POT-002', 'Teapot, cast iron, 0.8 l', 5990, 150),
    ('POT-003', 'Moka pot, 6 cups', 3290, 112),
    ('POT-004', 'French press, 1 l', 3990, 199),
    ('ACC-001', 'Tea filters, 100', 390, 305),
    ('ACC-002', 'Paper filters no. 4, 100', 290, 995),
    ('ACC-003', 'Strainer, steel', 890, 300),
    ('ACC-004', 'Measuring spoon', 450, 1189),
    ('ACC-005', 'Descaler, 0.5 l', 720, 1287),
    ('ACC-006', 'Tin, 250 g', 990, 402),
    ('SWE-001', 'Kandis, brown, 500 g', 420, 410),
    ('SWE-002', 'Shortbread, 200 g', 380, 672),
    ('SWE-003', 'Chocolate, 70 %, 100 g', 290, 365),
    ('SWE-004', 'Cantuccini, 250 g', 450, 1228),
    ('SWE-005', 'Honey, 500 g', 890, 955);
