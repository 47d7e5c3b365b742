"""The faces of portald: guests' pages, the operator's page and API, the SMS sandbox's page."""
