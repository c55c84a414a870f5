wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"title":"buy oat milk","description":"as long as a description usually is, one line"}'
