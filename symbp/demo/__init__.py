"""The model of ``symbp demo``, shipped so that it runs from an installed package as well."""
