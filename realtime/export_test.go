package realtime

// Following reports whether events are followed.
func (h *Hub) Following() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.followed:
		return true
	default:
		return false
	}
}
