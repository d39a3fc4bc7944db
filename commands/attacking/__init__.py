"""What attack.py needs: options, what is attacked, the three uses, sheets and plots."""
