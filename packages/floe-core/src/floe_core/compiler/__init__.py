"""The compiler: `load -> resolve -> inspect -> enforce -> build -> generate`."""
