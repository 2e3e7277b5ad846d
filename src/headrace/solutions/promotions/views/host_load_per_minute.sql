-- Load of each host per minute of event time: the mean, and the value that three quarters of the readings do not
-- exceed (75th percentile, interpolated between the two nearest readings).
SELECT
    window_start,
    window_end,
    host,
    avg(cpu_pct) AS cpu_avg,
    quantile_cont(cpu_pct, 0.75) AS cpu_p75,
    avg(memory_pct) AS memory_avg,
    quantile_cont(memory_pct, 0.75) AS memory_p75,
    avg(io_pct) AS io_avg,
    quantile_cont(io_pct, 0.75) AS io_p75
FROM TUMBLE(machine_metrics, measured_at, INTERVAL 1 MINUTE)
GROUP BY window_start, window_end, host
