class Logger:
    CRITICAL: int
    severity: int

G_LOGGER: Logger
