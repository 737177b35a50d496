"""Any weights into what jobs load: reading, export, quantisation, engines and engine selection."""
