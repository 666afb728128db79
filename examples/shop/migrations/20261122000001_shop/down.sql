-- Removes the shop's own tables. Its jobs stay in the queue.
DROP TABLE order_jobs;
DROP TABLE order_lines;
DROP TABLE orders;
DROP TABLE imports;
DROP TABLE products;
