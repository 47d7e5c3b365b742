"""The whole product in a lab of network namespaces: for ``portald demo``, and for the tests."""
