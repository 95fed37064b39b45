-- Reads the head of a list of this server. KEYS: the list. asked: limit, bytes, largest.

return head(KEYS[1], tonumber(call('HGET', P .. 'consumed', KEYS[1]) or 0))
