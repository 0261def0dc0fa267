"""What found boxes are worth, held against labels: numbers in, numbers out."""
