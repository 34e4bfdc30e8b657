package archive

import "encoding/json"

// Resign signs a manifest that was changed, as who has the key could.
func Resign(data []byte, k *Key) []byte {
	var m manifest
	if err := json.Unmarshal(data, &m); err != nil {
		panic(err)
	}
	if err := m.sign(k); err != nil {
		panic(err)
	}
	return encodeJSON(m)
}
