"""The engines that floe writes dbt profiles for, one module each."""
