-- The first day of the period that a `day` is in; weeks begin `week_shift` days before Monday, as the settings say.
-- $since DATE BETWEEN 1970-01-01 AND 2099-12-31: first day
-- $period TEXT = month IN (day, week, month, quarter, year, all): how long a row's days are; all: one row
CASE $period
    WHEN 'all' THEN $since
    WHEN 'week' THEN CAST(date_trunc('week', day + week_shift) AS DATE) - week_shift
    ELSE CAST(date_trunc(CASE WHEN $period = 'all' THEN 'year' ELSE $period END, day) AS DATE)
END
