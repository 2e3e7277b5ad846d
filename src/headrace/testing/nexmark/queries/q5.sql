-- The auctions with the most bids in the last ten seconds, every two seconds.
WITH bids AS (
  SELECT auction, count(*) AS num, window_start, window_end
  FROM HOP(bid, date_time, INTERVAL '2 seconds', INTERVAL '10 seconds')
  GROUP BY auction, window_start, window_end
), most AS (
  SELECT max(num) AS maxn, window_start, window_end FROM bids GROUP BY window_start, window_end
)
SELECT bids.auction, bids.num, bids.window_start, bids.window_end
FROM bids JOIN most ON bids.window_start = most.window_start AND bids.window_end = most.window_end
  AND bids.num >= most.maxn
