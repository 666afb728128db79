-- Products of which few are left, after everything that was ordered.
-- $1 how many are few
SELECT
    p.sku,
    p.name,
    p.stock - coalesce(sum(l.quantity), 0)::bigint AS remaining
FROM products AS p
LEFT JOIN order_lines AS l ON l.sku = p.sku
GROUP BY p.sku
HAVING p.stock - coalesce(sum(l.quantity), 0) < $1
ORDER BY remaining, p.sku
