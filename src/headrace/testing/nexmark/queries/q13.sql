-- Bids with a text from a side input. (A changed text corrects the bids that came before, too.)
SELECT b.auction, b.bidder, b.price, b.date_time, s.value
FROM bid AS b JOIN side_input AS s ON b.auction % 10000 = s.key
