package webhook

import (
	"net/http"
	"time"
)

// SignForTest signs a request as a sender of Standard Webhooks does.
func SignForTest(h http.Header, s Secret, body []byte) {
	SignAtForTest(h, s, time.Now(), body)
}

// SignAtForTest signs a request that is sent at a moment.
func SignAtForTest(h http.Header, s Secret, at time.Time, body []byte) {
	sign(h, []Secret{s}, "msg_1", at, body)
}
