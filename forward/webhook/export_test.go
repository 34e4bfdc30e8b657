package webhook

import (
	"net/http"
	"time"
)

// SignForTest signs a request as a Destination does.
func SignForTest(h http.Header, s Secret, body []byte) {
	sign(h, []Secret{s}, "evt_1", time.Now(), body)
}
